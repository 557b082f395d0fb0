"""Hand a checked configuration to a program on an inherited descriptor.

Programs never read the file again: what was checked is what runs, and a half-written edit cannot
reach a restarting worker.

Each program has a descriptor of its own, with what concerns it and nothing else, and the kernel seals it.  A
program that inherits it may read it, and only the supervisor can change it.

The descriptor holds one configuration a line.  A program starts with the first.  The lines that follow
change only keys that it can take over while it runs, and the last one counts.  Behind the last are NULs.
"""

from __future__ import annotations

import fcntl
import mmap
import os

import msgspec

from taskd.base.errors import ConfigError
from taskd.config.schema import Config

CONFIG_FD_VARIABLE = "TASKD_CONFIG_FD"

#: Since Linux 5.1; the name is not in every fcntl.  Memory that is mapped writable already stays writable,
#: nothing else.
_SEAL_FUTURE_WRITE = 0x10
_SEALS = _SEAL_FUTURE_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
#: Room for later configurations; memory is taken only for what is written.
_ROOM_BYTES = 1 << 18
_ROOM_TIMES = 4


def encode(config: Config) -> bytes:
    """Return the configuration as bytes."""
    return msgspec.json.encode(config)


def decode(data: bytes) -> Config:
    """Return the configuration that ``encode`` wrote.

    Raises: ``ConfigError`` when the bytes come from something else.
    """
    try:
        return msgspec.json.decode(data, type=Config)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, TypeError) as error:
        raise ConfigError(f"the inherited configuration cannot be read: {error}") from error


class Handover:
    """The supervisor's end: ``fd`` (close-on-exec) is for one program, ``add`` tells that program more."""

    def __init__(self, config: Config) -> None:
        line = encode(config) + b"\n"
        self.fd = os.memfd_create("taskd-config", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            size = len(line) * (1 + _ROOM_TIMES) + _ROOM_BYTES
            os.ftruncate(self.fd, size)
            self._mapped = mmap.mmap(self.fd, size)
            fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:
            os.close(self.fd)
            raise
        self._first_end = len(line)
        self._end = self._first_end
        self._mapped[: self._end] = line

    def add(self, config: Config) -> None:
        """Add a configuration for the program that holds the descriptor; a signal must tell it.

        Where the room is used up, the later ones are overwritten from the first of them on: a program that
        reads at that moment reads again at the signal.  Raises: ``ConfigError`` for one that is larger than
        the room.
        """
        self.add_line(encode(config))

    def add_line(self, line: bytes) -> None:
        """Add a line as it is.  Raises: ``ConfigError`` as ``add``."""
        room = len(self._mapped) - self._first_end
        if len(line) >= room:
            raise ConfigError(f"the changed configuration has {len(line)} bytes; there is room for {room}")
        if self._end + len(line) >= len(self._mapped):
            self._mapped[self._first_end :] = bytes(room)
            self._end = self._first_end
        self._mapped[self._end : self._end + len(line) + 1] = line + b"\n"
        self._end += len(line) + 1

    def let_go(self) -> None:
        """Close the descriptor, which the program has now: this end needs only the mapping."""
        os.close(self.fd)
        self.fd = -1

    def close(self) -> None:
        """Give everything back; programs can still read the descriptors that they hold."""
        self._mapped.close()
        if self.fd >= 0:
            self.let_go()


def into_descriptor(config: Config) -> int:
    """Return a descriptor (close-on-exec) of a configuration to which nothing will be added."""
    handover = Handover(config)
    fd = os.dup(handover.fd)
    handover.close()
    return fd


class Inherited:
    """The configuration that a program was started with, and the descriptor that changes come by."""

    def __init__(self, environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
        """Take the descriptor that the supervisor named.

        Raises: ``ConfigError`` when there is none: the program was not started by a supervisor.
        """
        number = environ.pop(CONFIG_FD_VARIABLE, "")
        if not number.isdigit():
            raise ConfigError(
                f"{CONFIG_FD_VARIABLE} is not set: taskd starts this program; do not start it by hand"
            )
        self._fd = int(number)
        os.set_inheritable(self._fd, False)
        self.config = decode(self._lines()[0])

    def latest(self) -> Config:
        """Return the configuration that was added last.  Raises: ``ConfigError``."""
        return decode(self._lines()[-1])

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def _lines(self) -> list[bytes]:
        # pread from 0: the descriptor's offset is shared with the supervisor and with other readers.
        data = os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        return data[: data.rfind(b"\n") + 1].splitlines() or [b""]


def from_environment(environ: dict[str, str] | os._Environ[str] = os.environ) -> Config:
    """Read the configuration from the descriptor that the supervisor named, and close it.

    Raises: ``ConfigError`` when there is none: the program was not started by a supervisor.
    """
    inherited = Inherited(environ)
    inherited.close()
    return inherited.config
