"""A descriptor that wakes a selector from another thread or from a signal handler."""

from __future__ import annotations

import os


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
