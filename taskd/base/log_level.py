"""The log level of a family of processes, in a word of memory that they share.

The process that may change it stores the word; the others look at it when it suits them, which costs a load
and no system call.  A child that is forked from a process that follows the word follows it, too.
"""

from __future__ import annotations

import logging
import mmap
import os
import sys

from taskd.base import log

#: The descriptor's number for a program that is given one.
LEVEL_FD_VARIABLE = "TASKD_LEVEL_FD"

_BYTES = 8


class SharedLevel:
    """One mapping of the word."""

    def __init__(self, fd: int) -> None:
        """Map the memory of ``create``; the present word counts as taken over."""
        self._word = memoryview(mmap.mmap(fd, _BYTES)).cast("Q")
        self._taken = self._word[0]

    @property
    def level(self) -> int:
        """The level as a number of ``logging``."""
        return self._word[0]

    def set(self, level: str) -> None:
        """Change the level of this process, and have the others take it over."""
        log.set_level(level)
        self._taken = self._word[0] = logging.getLogger().level

    def follow(self) -> None:
        """Take the level over if it was changed.  Cheap."""
        level = self._word[0]
        if level != self._taken:
            self._taken = level
            log.set_level(level)


def create() -> tuple[int, SharedLevel]:
    """Return the descriptor of a new word (close-on-exec), which says the present level, and its mapping."""
    fd = os.memfd_create("taskd-log-level", os.MFD_CLOEXEC)
    os.ftruncate(fd, _BYTES)
    os.pwrite(fd, logging.getLogger().level.to_bytes(_BYTES, sys.byteorder), 0)
    return fd, SharedLevel(fd)


def inherited(environ: dict[str, str] | os._Environ[str] = os.environ) -> SharedLevel:
    """Return the word that this program was given, and set the level to it; the descriptor is closed."""
    fd = int(environ.pop(LEVEL_FD_VARIABLE))
    shared = SharedLevel(fd)
    os.close(fd)
    log.set_level(shared.level)
    return shared
