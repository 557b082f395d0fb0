"""The plan of a batch of settlements for a transport: messages to send, delete, put back and hold.

A new message is sent before the old one is deleted: a crash in between runs a task twice and loses none.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from taskd.base.exhaustive import assert_never
from taskd.brokers.kombu.envelope import OpenedMessage, Sealed, again, seal
from taskd.brokers.kombu.letters import park
from taskd.protocol.delivery import Ack, Dead, Delay, Replace, Requeue, Settlement


class SettlementPlan:
    """The steps for one batch, to be carried out in the order of the attributes."""

    def __init__(self, now: float, refusal: Callable[[Sealed], str]) -> None:
        self._now = now
        self._refusal = refusal
        self.messages: list[Sealed] = []
        self.done: list[int | str] = []
        self.returned: list[int | str] = []
        self.delayed: list[tuple[float, OpenedMessage]] = []

    def add(self, outcome: Settlement, message: OpenedMessage) -> None:
        """Plan one outcome."""
        delivery = message.delivery
        match outcome:
            case Ack():
                self.done.append(message.handle)
            case Requeue(started=False, died=False):
                self.returned.append(message.handle)
            case Requeue(started=started, died=died):
                # Only a new message can carry the new counts; so it loses its place.
                deliveries = delivery.deliveries - (not started)
                self._send(message, again(message, deliveries=deliveries, deaths=delivery.deaths + died))
            case Delay(due_at=due_at, started=started):
                if started:
                    counted = msgspec.structs.replace(delivery, deliveries=delivery.deliveries + 1)
                    message = OpenedMessage(message.handle, counted, message.due_at, message.since)
                self.delayed.append((due_at, message))
            case Dead(reason=reason, evidence=evidence, died=died):
                counted = msgspec.structs.replace(delivery, deaths=delivery.deaths + died)
                self._send(message, park(counted, reason, evidence, self._now))
            case Replace(message=replacement):
                self._send(message, seal(replacement))
            case _:
                assert_never(outcome)

    def _send(self, message: OpenedMessage, instead: Sealed) -> None:
        reason = self._refusal(instead)
        if reason:
            # It would come back for ever, each time to be sent anew in vain.
            instead = park(message.delivery, f"it could not be sent anew: {reason}", b"{}", self._now)
        self.messages.append(instead)
        self.done.append(message.handle)
