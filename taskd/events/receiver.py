"""The receiving end of events: out of a mailbox, garbage left aside, the logical clock moved on."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from uuid import uuid4

import msgspec

from taskd.brokers.base import Broker, Mailbox
from taskd.protocol import events
from taskd.protocol.events import Seen
from taskd.protocol.lamport import LamportClock

logger = logging.getLogger(__name__)


class Receiver:
    """Reads events for one node or monitor.  For one thread; never waits.

    ``garbage`` counts messages that were not events.
    """

    def __init__(self, broker: Broker, logical: LamportClock, routing_key: str = "#") -> None:
        """Listen from now on.  Raises: ``BackendError``."""
        self._mailbox: Mailbox = broker.event_box(f"celeryev.{uuid4()}", routing_key)
        self._logical = logical
        self.garbage = 0

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._mailbox.fileno()

    def receive(self) -> Sequence[Seen]:
        """Return the events that have arrived.  Raises: ``BackendError``."""
        found: list[Seen] = []
        for delivery in self._mailbox.receive():
            try:
                seen, problems = events.decode(delivery.body, delivery.content_type)
                found += [self._clocked(event) for event in seen]
            except Exception as error:  # noqa: BLE001 - the barrier of what others send
                problems = [repr(error)]
            for problem in problems:
                self.garbage += 1
                # One line is enough: a sender of garbage may send much of it.
                level = logging.WARNING if self.garbage == 1 else logging.DEBUG
                logger.log(level, "a message that is not an event was dropped: %s", problem)
        return found

    def _clocked(self, event: Seen) -> Seen:
        # Clients never hear anybody, so their clocks say nothing: what they sent was just before now.
        if event.type == "task-sent":
            event = msgspec.structs.replace(event, clock=max(0, self._logical.value - 1))
        elif not event.clock:
            return msgspec.structs.replace(event, clock=self._logical.forward())
        self._logical.adjust(event.clock)
        return event

    def close(self) -> None:
        """Listen no more.  May be called twice."""
        self._mailbox.close()
