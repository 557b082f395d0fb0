"""Lines that a sink could not pass on at once: bounded, in order, with a count of the dropped.  Pure."""

from __future__ import annotations

from collections import deque

#: Enough for the moment in which a disk or a journal is slow; not for one that has stopped.
MAX_BYTES = 1 << 20


class Backlog:
    """Messages that wait, within ``max_bytes``; the newest are dropped when it is full.

    Why not the oldest: the first lines of trouble say more than the last ones.
    """

    def __init__(self, max_bytes: int = MAX_BYTES) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._messages: deque[bytes] = deque()
        #: Messages dropped since ``take_dropped``, and in all.
        self._dropped = 0
        self.dropped_total = 0

    def __len__(self) -> int:
        return len(self._messages)

    def add(self, message: bytes) -> bool:
        """Keep a message; False when there was no room and it is lost."""
        if self._bytes + len(message) > self._max_bytes and self._messages:
            self.lose()
            return False
        self._messages.append(message)
        self._bytes += len(message)
        return True

    @property
    def first(self) -> bytes:
        """The message that is next; there must be one."""
        return self._messages[0]

    def sent(self) -> None:
        """Forget the first message."""
        self._bytes -= len(self._messages.popleft())

    def lose(self) -> None:
        """Count a message that the other side refused."""
        self._dropped += 1
        self.dropped_total += 1

    def take_dropped(self) -> int:
        """Return how many were dropped since the last call."""
        dropped, self._dropped = self._dropped, 0
        return dropped
