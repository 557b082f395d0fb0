"""Claims of one worker generation in memory."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskd.base.exhaustive import assert_never
from taskd.brokers.base import lease_lost
from taskd.brokers.memory.hub import Generation, Listener, MemoryHub, dead_message, started
from taskd.brokers.timing import Timing
from taskd.config.stores import FailuresConfig
from taskd.protocol.delivery import (
    Ack,
    Dead,
    Delay,
    Delivery,
    LetterKind,
    Replace,
    Requeue,
    Settlement,
    UnclaimedFailure,
)


class MemoryIntake:
    """``Intake`` over a hub."""

    def __init__(
        self,
        hub: MemoryHub,
        timing: Timing,
        owner: str,
        queues: Sequence[str],
        lease_s: float,
        *,
        failures: FailuresConfig,
    ) -> None:
        self._hub = hub
        self._timing = timing
        self._name = owner
        self._lease_s = lease_s
        self._failures = failures
        self.closed = False
        with hub.lock:
            hub.end_owner(owner)
            self._owner = hub.owners[owner] = Generation(timing.monotonic() + lease_s)
            for queue in queues:
                hub.queue(queue)
            self._listener = Listener(hub, queues)

    @property
    def lease_s(self) -> float:
        """How long claims stay with a worker that has stopped renewing."""
        return self._lease_s

    @property
    def _alive(self) -> bool:
        return self._hub.owners.get(self._name) is self._owner

    def _check_lease(self) -> None:
        if not self._alive:
            raise lease_lost(self._name, self._lease_s)

    def claim(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` due messages, claimed."""
        with self._hub.lock:
            self._check_lease()
            for name, owner in list(self._hub.owners.items()):
                if owner is not self._owner and owner.lease_until < self._timing.monotonic():
                    self._hub.end_owner(name)
            queues = [self._hub.queue(name) for name in self._listener.names]
            for queue in queues:
                queue.promote(self._timing.now())
            claimed: list[Delivery] = []
            while len(claimed) < limit and any(queue.ready for queue in queues):
                head = min((queue for queue in queues if queue.ready), key=lambda queue: queue.ready[0][0])
                delivery = started(head.ready.pop(0)[1])
                self._owner.claimed[delivery.tag] = delivery
                claimed.append(delivery)
            return claimed

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Carry out all outcomes; return the refused tags."""
        with self._hub.lock:
            return [outcome.tag for outcome in outcomes if not self._settle(outcome)]

    def _settle(self, outcome: Settlement) -> bool:
        delivery = self._owner.claimed.pop(outcome.tag, None) if self._alive else None
        if delivery is None:
            return False
        now = self._timing.now()
        match outcome:
            case Ack():
                pass
            case Requeue(started=ran, died=died):
                self._hub.give_back(delivery, started=ran, deaths=int(died))
            case Delay(due_at=due_at, started=ran):
                returned = msgspec.structs.replace(delivery, deliveries=delivery.deliveries - (not ran))
                self._hub.queue(delivery.queue).put_delayed(due_at, returned)
                self._hub.wake(delivery.queue)
            case Dead():
                self._keep(delivery, outcome, now)
            case Replace(message=message):
                self._hub.post((message,), now)
            case _:
                assert_never(outcome)
        return True

    def keep(self, failures: Sequence[UnclaimedFailure]) -> None:
        """Write letters of messages without a claim."""
        with self._hub.lock:
            for each in failures:
                delivery = msgspec.structs.replace(each.delivery, tag=next(self._hub.numbers))
                dead = Dead(delivery.tag, each.reason, each.evidence, kind=LetterKind.FAILED)
                self._keep(delivery, dead, self._timing.now())

    def _keep(self, delivery: Delivery, dead: Dead, now: float) -> None:
        self._hub.dead[delivery.tag] = (dead_message(delivery, dead, now), delivery)
        if dead.kind is LetterKind.FAILED:
            self._hub.prune(self._failures, now)

    def renew(self) -> None:
        """Extend the lease of all claims, and take failed letters beyond their bounds away."""
        with self._hub.lock:
            self._check_lease()
            self._owner.lease_until = self._timing.monotonic() + self._lease_s
            self._hub.prune(self._failures, self._timing.now())

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to claim."""
        return self._listener.wakeup.fileno()

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable until something new happens."""
        self._listener.wakeup.clear()

    def next_due_at(self) -> float | None:
        """Return when the next delayed message becomes due (wall clock), or None."""
        scheduled = self.scheduled(1)
        return scheduled[0][0] if scheduled else None

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        """Return up to ``limit`` delayed messages, soonest first."""
        with self._hub.lock:
            entries = [entry for name in self._listener.names for entry in self._hub.queue(name).delayed]
        entries.sort(key=lambda entry: entry[:2])
        return [(due_at, started(delivery)) for due_at, _, delivery in entries[:limit]]

    def advance(self, entries: Sequence[tuple[float, Delivery]], due_at: float) -> None:
        """Let delayed messages become due at ``due_at``."""
        with self._hub.lock:
            for former, delivery in entries:
                queue = self._hub.queue(delivery.queue)
                kept = [entry for entry in queue.delayed if entry[:2] == (former, delivery.tag)]
                for entry in kept:
                    queue.delayed.remove(entry)
                    queue.put_delayed(due_at, entry[2])
                self._hub.wake(delivery.queue)

    def depth(self) -> int:
        """Return how many messages could be claimed now."""
        now = self._timing.now()
        with self._hub.lock:
            queues = [self._hub.queue(name) for name in self._listener.names]
            return sum(len(q.ready) + sum(entry[0] <= now for entry in q.delayed) for q in queues)

    def queues(self) -> Sequence[str]:
        """Return the queues that ``claim`` looks at."""
        return tuple(self._listener.names)

    def add_queue(self, queue: str) -> None:
        """Claim from ``queue`` too."""
        with self._hub.lock:
            self._hub.queue(queue)
            if queue not in self._listener.names:
                self._listener.names.append(queue)
                self._listener.wakeup.set()

    def cancel_queue(self, queue: str) -> None:
        """Claim from ``queue`` no more."""
        with self._hub.lock:
            if queue in self._listener.names:
                self._listener.names.remove(queue)

    def close(self) -> None:
        """Return all claims unstarted and end the lease."""
        with self._hub.lock:
            if self.closed:
                return
            self.closed = True
            if self._alive:
                self._hub.end_owner(self._name, unstarted=True)
            self._hub.listeners.discard(self._listener)
            self._listener.wakeup.close()
