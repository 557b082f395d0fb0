"""Tell monitors what beat has decided: an event for each run that was sent, skipped or failed.

News, not work: nothing is made while nobody listens, and what the broker does not take is dropped.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from taskd.base import clock, ids
from taskd.base.errors import BackendError
from taskd.beat.stores.base import Decision, RunOutcome
from taskd.brokers.base import EventSender
from taskd.brokers.event_sender import LazyEventSender
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.protocol import events
from taskd.protocol.delivery import Outgoing
from taskd.protocol.events import BeatEvent, BeatFailed, BeatSent, BeatSkipped
from taskd.protocol.lamport import LamportClock

logger = logging.getLogger(__name__)


class BeatNews:
    """Sends events over one connection to the broker.  For the loop; the broker's trouble is not raised."""

    def __init__(self, open_sender: Callable[[], EventSender]) -> None:
        self._sender = LazyEventSender(open_sender)
        self._hostname = ids.node_name("beat")
        self._logical = LamportClock()
        self._failed = False

    def tell(self, decisions: Sequence[Decision], task_of: Callable[[str], str]) -> None:
        """Tell what was decided; ``task_of`` names the task of an entry."""
        if not decisions or self._failed:
            return
        try:
            if self._sender.listened():
                self._sender.send([self._message([self._event(each, task_of) for each in decisions])])
        except BackendError as error:
            # The next connection has news of its own.
            self._failed = True
            logger.warning("events are not sent until the broker is connected anew: %s", error)

    def _event(self, decision: Decision, task_of: Callable[[str], str]) -> BeatEvent:
        common = {
            "hostname": self._hostname,
            "timestamp": decision.decided_at,
            "clock": self._logical.forward(),
            "pid": os.getpid(),
            "utcoffset": clock.utcoffset_hours(),
            "entry": decision.name,
            "task": task_of(decision.name),
            "due": decision.due_at,
            "late": decision.late_s,
            "reason": decision.reason,
        }
        match decision.outcome:
            case RunOutcome.SKIPPED:
                return BeatSkipped(**common, count=decision.count)  # type: ignore[arg-type]
            case RunOutcome.FAILED:
                return BeatFailed(**common)  # type: ignore[arg-type]
            case _:
                return BeatSent(**common, uuid=decision.task_id)  # type: ignore[arg-type]

    def _message(self, told: Sequence[BeatEvent]) -> Outgoing:
        one = len(told) == 1
        return Outgoing(
            exchange=EVENT_EXCHANGE,
            routing_key=events.routing_key(events.type_of(told[0])) if one else events.multi_key("beat"),
            headers=events.encode_headers(self._hostname),
            body=events.encode(told[0] if one else told),
            content_type=events.CONTENT_TYPE,
        )

    def close(self) -> None:
        """Release the connection.  May be called twice."""
        self._sender.close()
