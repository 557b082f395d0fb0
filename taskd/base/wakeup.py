"""Descriptors to wait for: one made readable by hand, one that stands for several; and the waiting."""

from __future__ import annotations

import ctypes
import os
import select
import struct
from collections.abc import Callable, Sized

_libc = ctypes.CDLL(None, use_errno=True)
_EPOLLIN = 1
_EPOLL_CTL_ADD = 1
#: The kernel's epoll_event has 12 or 16 bytes by machine; the rest of it is for epoll_wait alone.
_READABLE = struct.pack("=I12x", _EPOLLIN)


class Wakeup:
    """One eventfd(2): ``set`` from anywhere, ``clear`` in the loop that selects on it.

    Safe to call from any thread and from signal handlers; never blocks.
    """

    def __init__(self) -> None:
        self._fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def fileno(self) -> int:
        """Return the descriptor to select on for reading."""
        return self._fd

    def set(self) -> None:
        """Make the descriptor readable."""
        try:
            os.eventfd_write(self._fd, 1)
        except BlockingIOError:
            pass  # the counter is full: it is readable already

    def clear(self) -> None:
        """Make the descriptor unreadable until the next ``set``."""
        try:
            os.eventfd_read(self._fd)
        except BlockingIOError:
            pass

    def close(self) -> None:
        """Close the descriptor; ``set`` must not be called any more."""
        os.close(self._fd)


class AnyReadable:
    """A descriptor that is readable while any of several is; closed ones go by themselves.

    By epoll(7), of which only the descriptor is used: nobody waits here.  Not by ``select.epoll``, which
    gevent and eventlet take away.
    """

    def __init__(self) -> None:
        self._fd = _checked(_libc.epoll_create1(os.O_CLOEXEC))

    def add(self, fd: int) -> None:
        """Stand for a descriptor, too.  Raises: ``OSError``."""
        _checked(_libc.epoll_ctl(self._fd, _EPOLL_CTL_ADD, fd, _READABLE))

    def fileno(self) -> int:
        """Return the descriptor to select on for reading."""
        return self._fd

    def close(self) -> None:
        """Close the descriptor.  May be called twice."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)


class Readable:
    """Whether one open descriptor is readable, now or within a time."""

    def __init__(self, fd: int) -> None:
        if hasattr(select, "poll"):
            # Not select: descriptors above 1023 are common in clients.
            poller = select.poll()
            poller.register(fd, select.POLLIN)
            self._poll: Callable[[float], Sized] = poller.poll
        else:  # eventlet leaves nothing else
            self._poll = lambda timeout_ms: select.select([fd], [], [], timeout_ms / 1000)[0]

    def within(self, timeout_s: float) -> bool:
        """Return whether it is, or becomes so in time; blocks until then."""
        return len(self._poll(timeout_s * 1000)) > 0


def _checked(answer: int) -> int:
    if answer < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return answer
