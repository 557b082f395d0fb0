"""Sending events now and then: a connection that is opened when there is something to tell."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskd.base import clock
from taskd.brokers.base import EventSender
from taskd.protocol.delivery import Outgoing

#: How long an answer holds to whether anybody listens.
_LOOK_EVERY_S = 1.0


class LazyEventSender:
    """``EventSender`` whose connection is opened by the first call; for one thread at a time."""

    def __init__(self, open_sender: Callable[[], EventSender]) -> None:
        self._open_sender = open_sender
        self._sender: EventSender | None = None
        self._listened = False
        self._look_from = 0.0

    def listened(self) -> bool:
        """Return whether anybody may be listening, as it was within the last second."""
        now = clock.monotonic()
        if now >= self._look_from:
            self._look_from = now + _LOOK_EVERY_S
            self._listened = self._opened().listened()
        return self._listened

    def send(self, events: Sequence[Outgoing]) -> None:
        """Publish all events in one trip."""
        self._opened().send(events)

    def _opened(self) -> EventSender:
        if self._sender is None:
            self._sender = self._open_sender()
        return self._sender

    def close(self) -> None:
        """Release the connection; the next call opens another."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None
