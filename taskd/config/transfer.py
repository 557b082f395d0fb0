"""Hand a checked configuration to a program on an inherited descriptor.

Programs never read the file again: what was checked is what runs, and a half-written edit cannot
reach a restarting worker.
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
    os.write(fd, encode(config))
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


def from_environment(environ: dict[str, str] | os._Environ[str] = os.environ) -> Config:
    """Read the configuration from the descriptor that the supervisor named, and close it.

    Raises: ``ConfigError`` when there is none: the program was not started by a supervisor.
    """
    number = environ.pop(CONFIG_FD_VARIABLE, "")
    if not number.isdigit():
        raise ConfigError(f"{CONFIG_FD_VARIABLE} is not set: this program is started by taskd, not by hand")
    # pread from 0: the descriptor's offset is shared with the supervisor and with earlier readers.
    fd = int(number)
    data = os.pread(fd, os.fstat(fd).st_size, 0)
    os.close(fd)
    return decode(data)
