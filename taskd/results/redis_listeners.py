"""The connections on which waits for results on Redis listen: kept for the next wait, for a while.

A new one takes several trips, and more with TLS and a login, which is more than most waits take themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.storage.redis.address import Address
from taskd.storage.redis.subscription import Subscription

#: The number of kept listeners; more threads than that may wait at a time.
_MOST_KEPT = 8
#: A router may have dropped a connection that lay unused for longer; only a timeout would tell.
_FRESH_S = 60.0


class Listeners:
    """For any thread; of one process."""

    def __init__(self, address: Address) -> None:
        self._address = address
        #: Each with the monotonic time since when it has been unused, the latest last.
        self._unused: list[tuple[float, Subscription]] = []
        self._closed = False
        #: Held for no longer than a look at the list takes.
        self._lock = threading.Lock()

    @contextmanager
    def hearing(self, channels: Sequence[str]) -> Iterator[Subscription]:
        """Yield a subscription that hears these channels.  Raises: ``StorageError``: it cannot connect."""
        listening = self.take(channels)
        try:
            yield listening
        except BaseException:
            listening.close()
            raise
        self.give_back(listening, channels)

    def take(self, channels: Sequence[str]) -> Subscription:
        """Return a subscription that hears these channels.  Raises: ``StorageError``: it cannot connect."""
        return self._joined(channels) or Subscription(self._address, channels=channels)

    def _joined(self, channels: Sequence[str]) -> Subscription | None:
        """Return a kept one that hears the channels; None when there is none that still stands."""
        while True:
            with self._lock:
                if not self._unused:
                    return None
                since, kept = self._unused.pop()
            if clock.monotonic() - since < _FRESH_S:
                try:
                    kept.join(channels)
                    return kept
                except StorageError:
                    pass  # a new one shows whether it was the connection only
            kept.close()

    def give_back(self, listening: Subscription, channels: Sequence[str]) -> None:
        """Keep one whose wait has ended; ``channels``: all that it hears.

        Never raises, for the wait has its answer.
        """
        try:
            listening.leave(channels)
        except StorageError:
            listening.close()
            return
        with self._lock:
            is_kept = not self._closed and len(self._unused) < _MOST_KEPT
            if is_kept:
                self._unused.append((clock.monotonic(), listening))
        if not is_kept:
            listening.close()

    def close(self) -> None:
        """Close those that are unused; the others are closed when their wait ends."""
        with self._lock:
            self._closed = True
            unused, self._unused = self._unused, []
        for _, listening in unused:
            listening.close()
