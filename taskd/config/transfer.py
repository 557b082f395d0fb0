"""Hand a checked configuration to a program on an inherited descriptor.

Programs never read the file again: what was checked is what runs, and a half-written edit cannot
reach a restarting worker.

The descriptor holds one configuration a line.  The first is what a program starts with, and starts with
again after a crash; those that follow change only what can be taken over while it runs, and the last
one counts.  Lines are only ever appended, so whoever reads meanwhile sees whole ones.
"""

from __future__ import annotations

import os

import msgspec

from taskd.config.schema import Config
from taskd.errors import ConfigError

CONFIG_FD_VARIABLE = "TASKD_CONFIG_FD"


def encode(config: Config) -> bytes:
    """Return the configuration as bytes."""
    return msgspec.json.encode(config)


def decode(data: bytes) -> Config:
    """Return the configuration that ``encode`` wrote.

    Raises: ``ConfigError`` when the bytes come from something else.
    """
    try:
        return msgspec.json.decode(data, type=Config)
    except (msgspec.DecodeError, TypeError) as error:
        raise ConfigError(f"the inherited configuration cannot be read: {error}") from error


def into_descriptor(config: Config) -> int:
    """Return a descriptor (close-on-exec, at offset 0) from which ``from_environment`` reads."""
    fd = os.memfd_create("taskd-config", os.MFD_CLOEXEC)
    append(fd, config)
    return fd


def append(fd: int, config: Config) -> None:
    """Add a configuration for those that hold the descriptor already; a signal must tell them."""
    os.pwrite(fd, encode(config) + b"\n", os.fstat(fd).st_size)


class Inherited:
    """The configuration that a program was started with, and the descriptor that changes come by."""

    def __init__(self, environ: dict[str, str] | os._Environ[str] = os.environ) -> None:
        """Take the descriptor that the supervisor named.

        Raises: ``ConfigError`` when there is none: the program was not started by a supervisor.
        """
        number = environ.pop(CONFIG_FD_VARIABLE, "")
        if not number.isdigit():
            raise ConfigError(
                f"{CONFIG_FD_VARIABLE} is not set: this program is started by taskd, not by hand"
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
