"""Claims of one worker generation over kombu.

The lease is the channel.  As long as it is open, the claims are this worker's.  When it ends, however it
ends, the server hands its messages to others.  Nothing is ever taken over while the connection lives, and
what is settled after it was lost is refused.  Messages that are not due yet are held here unacknowledged.
"""

from __future__ import annotations

import bisect
import logging
from collections.abc import Sequence

from taskd.base.errors import BrokerError, LeaseLostError
from taskd.brokers.kombu.envelope import OpenedMessage, Sealed, again
from taskd.brokers.kombu.server import Server
from taskd.brokers.kombu.settling import SettlementPlan
from taskd.brokers.kombu.source import Source
from taskd.protocol.delivery import Delivery, Settlement

logger = logging.getLogger(__name__)

#: RabbitMQ ends a channel that holds a message for 30 minutes (consumer_timeout): what is not due for longer
#: is sent anew after this time.
_HOLD_S = 600.0


class KombuIntake:
    """``Intake`` over one source."""

    def __init__(
        self, server: Server, owner: str, queues: Sequence[str], source: Source, *, lease_s: float
    ) -> None:
        self._server = server
        self._name = owner
        self._lease_s = lease_s
        self._queues = list(dict.fromkeys(queues))
        self._source = source
        self._held: dict[int, OpenedMessage] = {}
        #: By due time, then by tag.
        self._delayed: list[tuple[float, int, OpenedMessage]] = []
        self._lost = ""
        self.closed = False

    @property
    def lease_s(self) -> float:
        """After how long without a sign the server gives this worker up: the heartbeat of the connection."""
        return self._lease_s

    def _lose(self, error: BrokerError) -> LeaseLostError:
        """Everything that was claimed is the server's again."""
        self._lost = self._lost or str(error)
        self._held.clear()
        self._delayed.clear()
        return self._lease_lost()

    def _lease_lost(self) -> LeaseLostError:
        return LeaseLostError(f'the claims of "{self._name}" went with its connection: {self._lost}')

    # -- claiming ----------------------------------------------------------------------------

    def claim(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` due messages, claimed."""
        if self._lost:
            raise self._lease_lost()
        if limit < 1 or not self._queues:
            return ()
        now = self._server.timing.now()
        claimed: list[OpenedMessage] = []
        while self._delayed and self._delayed[0][0] <= now and len(claimed) < limit:
            claimed.append(self._delayed.pop(0)[2])
        try:
            while len(claimed) < limit:
                asked = limit - len(claimed)
                found = self._source.fetch(asked)
                for message in found:
                    if message.due_at > now:
                        self._hold(message, message.due_at)
                    else:
                        claimed.append(message)
                if len(found) < asked:
                    break
        except BrokerError as error:
            raise self._lose(error) from error
        for message in claimed:
            self._held[message.delivery.tag] = message
        return [message.delivery for message in claimed]

    def _hold(self, message: OpenedMessage, due_at: float) -> None:
        bisect.insort(self._delayed, (due_at, message.delivery.tag, message), key=lambda entry: entry[:2])

    # -- settling ----------------------------------------------------------------------------

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Carry out all outcomes, the sending ones first.  Return the refused tags."""
        plan = SettlementPlan(self._server.timing.now(), self._source.refusal)
        refused: list[int] = []
        taken: set[int] = set()
        for outcome in outcomes:
            message = self._held.get(outcome.tag)
            if message is None or outcome.tag in taken:
                refused.append(outcome.tag)
            else:
                taken.add(outcome.tag)
                plan.add(outcome, message)
        if not taken:
            return refused
        try:
            if plan.messages:
                self._source.publish(plan.messages)
            if plan.done:
                self._source.acknowledge(plan.done)
            if plan.returned:
                self._source.give_back(plan.returned)
        except BrokerError as error:
            self._lose(error)
            return [outcome.tag for outcome in outcomes]
        for due_at, message in plan.delayed:
            self._hold(message, due_at)
        for tag in taken:
            del self._held[tag]
        return refused

    def renew(self) -> None:
        """Keep the connection alive, and send anew what has been held for long."""
        if self._lost:
            raise self._lease_lost()
        try:
            self._source.tick()
            self._refresh()
        except BrokerError as error:
            raise self._lose(error) from error

    def _refresh(self) -> None:
        before = self._server.timing.monotonic() - _HOLD_S
        old = [(*entry, _anew(entry)) for entry in self._delayed if entry[2].since < before]
        old = [entry for entry in old if not self._source.refusal(entry[3])]
        if not old:
            return
        self._source.publish([sealed for *_, sealed in old])
        self._source.acknowledge([message.handle for _, _, message, _ in old])
        gone = {tag for _, tag, _, _ in old}
        self._delayed = [entry for entry in self._delayed if entry[1] not in gone]

    # -- waiting -----------------------------------------------------------------------------

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to claim."""
        return self._source.fileno()

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable until something new happens."""
        if self._lost:
            raise self._lease_lost()
        try:
            self._source.clear_wakeups()
        except BrokerError as error:
            raise self._lose(error) from error

    def next_due_at(self) -> float | None:
        """Return when the next message that is held here becomes due."""
        return self._delayed[0][0] if self._delayed else None

    # -- looking -----------------------------------------------------------------------------

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        """Return up to ``limit`` messages that are held here, soonest first."""
        return [(due_at, message.delivery) for due_at, _, message in self._delayed[:limit]]

    def advance(self, entries: Sequence[tuple[float, Delivery]], due_at: float) -> None:
        """Let messages that are held here become due at ``due_at``."""
        wanted = {delivery.tag for _, delivery in entries}
        for entry in [entry for entry in self._delayed if entry[1] in wanted]:
            self._delayed.remove(entry)
            self._hold(entry[2], due_at)
        self._source.wake()

    def depth(self) -> int:
        """Return how many messages could be claimed now."""
        if self._lost:
            raise self._lease_lost()
        now = self._server.timing.now()
        due = bisect.bisect_right(self._delayed, (now, float("inf")), key=lambda entry: entry[:2])
        try:
            return due + (self._source.depth() if self._queues else 0)
        except BrokerError as error:
            raise self._lose(error) from error

    # -- queues ------------------------------------------------------------------------------

    def queues(self) -> Sequence[str]:
        """Return the queues that ``claim`` looks at."""
        return tuple(self._queues)

    def add_queue(self, queue: str) -> None:
        """Claim from ``queue`` too."""
        if queue not in self._queues:
            self._source.add_queue(queue)
            self._queues.append(queue)

    def cancel_queue(self, queue: str) -> None:
        """Claim from ``queue`` no more."""
        if queue in self._queues:
            self._queues.remove(queue)
            gone = [entry for entry in self._delayed if entry[2].delivery.queue == queue]
            self._delayed = [entry for entry in self._delayed if entry[2].delivery.queue != queue]
            self._source.cancel_queue(queue)
            self._source.give_back([message.handle for _, _, message in gone])

    def close(self) -> None:
        """End the connection; the server gives the claims back."""
        if self.closed:
            return
        self.closed = True
        self._held.clear()
        self._delayed.clear()
        self._source.close()
        self._lost = self._lost or "it was closed"


def _anew(entry: tuple[float, int, OpenedMessage]) -> Sealed:
    due_at, _, message = entry
    delivery = message.delivery
    return again(message, deliveries=delivery.deliveries - 1, deaths=delivery.deaths, due_at=due_at)
