"""The memory broker as ``factory.connect`` returns it: publisher, mailbox and desk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from taskd.brokers.base import ExchangeType
from taskd.brokers.dead import never_tried
from taskd.brokers.desk import ALL_DEAD, DeadFilter, DeadLetter, DeadMessage, QueueInfo
from taskd.brokers.memory.hub import Listener, MemoryHub, Queue, hub_of, started
from taskd.brokers.memory.intake import MemoryIntake
from taskd.brokers.memory.once import MemoryOnce
from taskd.brokers.timing import Timing
from taskd.brokers.topology import EVENT_EXCHANGE, MAX_WAITING_EVENTS
from taskd.config.built_in import MEMORY
from taskd.config.stores import FailuresConfig, Stores
from taskd.protocol.delivery import Delivery, LetterKind, Outgoing


class MemoryPublisher:
    """``Publisher`` over a hub."""

    def __init__(self, hub: MemoryHub, timing: Timing) -> None:
        self._hub = hub
        self._timing = timing

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Put all messages into their queues."""
        with self._hub.lock:
            self._hub.post(messages, self._timing.now())

    def close(self) -> None:
        """Do nothing: there is no connection."""


class MemoryMailbox:
    """``Mailbox`` over a hub."""

    def __init__(
        self, hub: MemoryHub, queue: str, exchange: str, kind: ExchangeType, routing_key: str
    ) -> None:
        self._hub = hub
        self._queue = queue
        self.closed = False
        with hub.lock:
            hub.queues[queue] = Queue(mailbox=True)
            if exchange:
                hub.bind(queue, exchange, kind, routing_key)
            self._listener = Listener(hub, (queue,))

    def receive(self) -> Sequence[Delivery]:
        """Return everything that has arrived."""
        with self._hub.lock:
            self._listener.wakeup.clear()
            queue = self._hub.queues[self._queue]
            received = [started(delivery) for _, delivery in queue.ready]
            queue.ready.clear()
            return received

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._listener.wakeup.fileno()

    def close(self) -> None:
        """Delete the queue and its bindings."""
        with self._hub.lock:
            if self.closed:
                return
            self.closed = True
            self._hub.queues.pop(self._queue, None)
            self._hub.bindings = {entry for entry in self._hub.bindings if entry[2] != self._queue}
            self._hub.listeners.discard(self._listener)
            self._listener.wakeup.close()


class MemoryEventSender:
    """``EventSender`` over a hub."""

    def __init__(self, hub: MemoryHub, timing: Timing) -> None:
        self._hub = hub
        self._timing = timing

    def listened(self) -> bool:
        """Return whether a queue is bound to the exchange of events."""
        with self._hub.lock:
            return any(exchange == EVENT_EXCHANGE for exchange, _, _ in self._hub.bindings)

    def send(self, events: Sequence[Outgoing]) -> None:
        """Put the events into the queues of the listeners, and drop the oldest of the slow ones."""
        with self._hub.lock:
            self._hub.post(events, self._timing.now())
            for name in {queue for exchange, _, queue in self._hub.bindings if exchange == EVENT_EXCHANGE}:
                del self._hub.queue(name).ready[:-MAX_WAITING_EVENTS]

    def close(self) -> None:
        """Do nothing: there is no connection."""


class MemoryDesk:
    """``Desk`` over a hub."""

    def __init__(self, hub: MemoryHub) -> None:
        self._hub = hub

    def close(self) -> None:
        """Do nothing: the hub stays."""

    def queues(self) -> Sequence[QueueInfo]:
        """Return all durable queues, by name."""
        with self._hub.lock:
            return [
                QueueInfo(
                    name=name,
                    ready=len(queue.ready),
                    delayed=len(queue.delayed),
                    claimed=sum(
                        delivery.queue == name
                        for owner in self._hub.owners.values()
                        for delivery in owner.claimed.values()
                    ),
                    dead=self._count(name, LetterKind.DEAD),
                    failed=self._count(name, LetterKind.FAILED),
                )
                for name, queue in sorted(self._hub.queues.items())
                if not queue.mailbox
            ]

    def _count(self, queue: str, kind: LetterKind) -> int:
        letters = [kept.letter for kept, _ in self._hub.dead.values()]
        return sum((letter.queue, letter.kind) == (queue, kind) for letter in letters)

    def purge(self, queue: str) -> int:
        """Delete the ready and delayed messages of a queue; return how many."""
        with self._hub.lock:
            known = self._hub.queues.get(queue)
            if known is None:
                return 0
            deleted = len(known.ready) + len(known.delayed)
            known.ready.clear()
            known.delayed.clear()
            return deleted

    def dead_letters(self, which: DeadFilter = ALL_DEAD, limit: int = 100) -> Sequence[DeadLetter]:
        """Return up to ``limit`` letters, the newest first."""
        return self._matching(which)[::-1][:limit]

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one letter with its evidence and message; None when there is none of this id."""
        with self._hub.lock:
            dead = self._hub.dead.get(letter_id)
        return dead and dead[0]

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of letters, the oldest first."""
        return [letter.id for letter in self._matching(which)]

    def _matching(self, which: DeadFilter) -> list[DeadLetter]:
        """Return what the filter lets through, by time of death."""
        with self._hub.lock:
            letters = [dead.letter for dead, _ in self._hub.dead.values()]
        chosen = [
            letter
            for letter in letters
            if which.task in (None, letter.task)
            and which.queue in (None, letter.queue)
            and (which.since_at is None or letter.died_at >= which.since_at)
            and (which.ids is None or letter.id in which.ids)
            and which.kind in (None, letter.kind)
        ]
        return sorted(chosen, key=lambda letter: (letter.died_at, letter.id))

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send letters to their queues again; return how many."""
        with self._hub.lock:
            found = [self._hub.dead.pop(number) for number in ids if number in self._hub.dead]
            for kept, delivery in found:
                is_dead = kept.letter.kind is LetterKind.DEAD
                headers = delivery.headers if is_dead else never_tried(delivery.headers)
                anew = msgspec.structs.replace(delivery, deliveries=0, deaths=0, headers=headers)
                self._hub.give_back(anew)
            return len(found)

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these letters; return how many there were."""
        with self._hub.lock:
            return sum(self._hub.dead.pop(number, None) is not None for number in ids)


Part = TypeVar("Part", MemoryIntake, MemoryMailbox)


class MemoryBroker:
    """``Broker`` whose hub is shared by all brokers of the same URL in this process."""

    kind = MEMORY

    def __init__(
        self, url: str, timing: Timing | None = None, failures: FailuresConfig | None = None
    ) -> None:
        self.url = url
        self._timing = timing or Timing()
        self._failures = failures or FailuresConfig()
        self._parts: list[MemoryIntake | MemoryMailbox] = []
        self._hub = hub_of(url)

    def _keep(self, part: Part) -> Part:
        self._parts = [known for known in self._parts if not known.closed]
        self._parts.append(part)
        return part

    def intake(self, owner: str, queues: Sequence[str], *, lease_s: float = 10.0) -> MemoryIntake:
        """Open the claims of a new generation of ``owner``; fences off and releases the former one."""
        failures = self._failures
        return self._keep(MemoryIntake(self._hub, self._timing, owner, queues, lease_s, failures=failures))

    def publisher(self) -> MemoryPublisher:
        """Return a publisher."""
        return MemoryPublisher(self._hub, self._timing)

    def once(self) -> MemoryOnce:
        """Return a publisher that sends no id twice."""
        return MemoryOnce(self._hub, self._timing)

    def mailbox(
        self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str = ""
    ) -> MemoryMailbox:
        """Make and bind a mailbox; an old one of the same name is taken over, its messages dropped."""
        return self._keep(MemoryMailbox(self._hub, queue, exchange, exchange_type, routing_key))

    def event_sender(self) -> MemoryEventSender:
        """Return a sender of events."""
        return MemoryEventSender(self._hub, self._timing)

    def event_box(self, queue: str, routing_key: str = "#") -> MemoryMailbox:
        """Make a mailbox for events of these routing keys."""
        return self.mailbox(queue, EVENT_EXCHANGE, "topic", routing_key)

    def bind(self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str) -> None:
        """Bind a queue to an exchange; both are made if missing."""
        with self._hub.lock:
            self._hub.queue(queue)
            self._hub.bind(queue, exchange, exchange_type, routing_key)

    def desk(self) -> MemoryDesk:
        """Return the operator's view."""
        return MemoryDesk(self._hub)

    def close(self) -> None:
        """Close what was opened here; the messages stay for others of this process."""
        for part in self._parts:
            part.close()
        self._parts.clear()


def open_broker(url: str, stores: Stores) -> MemoryBroker:
    """Return the broker of a URL."""
    return MemoryBroker(url, failures=stores.failures)
