"""All state of one ``memory://`` URL; callers of its methods hold its lock."""

from __future__ import annotations

import bisect
import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import msgspec

from taskd.base.errors import BrokerError
from taskd.base.safe_text import storable
from taskd.base.wakeup import Wakeup
from taskd.brokers.base import ExchangeType
from taskd.brokers.dead import size_of, task_name
from taskd.brokers.desk import DeadLetter, DeadMessage
from taskd.brokers.failures import Kept, excess
from taskd.brokers.topology import matches
from taskd.config.stores import FailuresConfig
from taskd.protocol.delivery import Dead, Delivery, LetterKind, Outgoing

# Where a waiting message stands: minus the priority, then the order of arrival.
Place = tuple[int, int]


@dataclass(slots=True, eq=False)
class Queue:
    """Ready messages by place, delayed ones by due time; ``listeners`` wake for both."""

    mailbox: bool = False
    ready: list[tuple[Place, Delivery]] = field(default_factory=list)
    delayed: list[tuple[float, int, Delivery]] = field(default_factory=list)

    def put(self, delivery: Delivery) -> None:
        """Put a message in its place among the ready ones."""
        bisect.insort(self.ready, ((-delivery.priority, delivery.tag), delivery), key=lambda entry: entry[0])

    def put_delayed(self, due_at: float, delivery: Delivery) -> None:
        """Keep a message until it is due."""
        bisect.insort(self.delayed, (due_at, delivery.tag, delivery), key=lambda entry: entry[:2])

    def promote(self, now: float) -> None:
        """Make delayed messages ready that have become due."""
        while self.delayed and self.delayed[0][0] <= now:
            self.put(self.delayed.pop(0)[2])


@dataclass(slots=True, eq=False)
class Generation:
    """A generation: alive as long as it stands in the hub's table."""

    lease_until: float
    claimed: dict[int, Delivery] = field(default_factory=dict)


class MemoryHub:
    """All state of one URL, under one lock."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.numbers = count(1)
        self.queues: dict[str, Queue] = {}
        self.exchanges: dict[str, ExchangeType] = {}
        self.bindings: set[tuple[str, str, str]] = set()
        self.owners: dict[str, Generation] = {}
        #: Letters of both kinds, the oldest first.
        self.dead: dict[int, tuple[DeadMessage, Delivery]] = {}
        #: When each message that may be sent once was sent, by task id.
        self.sent_once: dict[str, float] = {}
        self.listeners: weakref.WeakSet[Listener] = weakref.WeakSet()

    def queue(self, name: str) -> Queue:
        """Return a queue, made when missing."""
        return self.queues.setdefault(name, Queue())

    def bind(self, queue: str, exchange: str, kind: ExchangeType, routing_key: str) -> None:
        """Bind a queue.  Raises: ``BrokerError`` when the exchange exists with another type."""
        if self.exchanges.setdefault(exchange, kind) != kind:
            raise BrokerError(f'exchange "{exchange}" exists with type {self.exchanges[exchange]}')
        self.bindings.add((exchange, routing_key, queue))

    def route(self, message: Outgoing) -> list[str]:
        """Return the names of the queues that a message goes to."""
        if not message.exchange:
            return [message.routing_key]
        kind = self.exchanges.get(message.exchange, "direct")
        return sorted(
            {
                queue
                for exchange, pattern, queue in self.bindings
                if exchange == message.exchange and matches(kind, pattern, message.routing_key)
            }
        )

    def post(self, messages: Sequence[Outgoing], now: float) -> None:
        """Put messages into the queues that they route to, and wake whoever listens."""
        for message in messages:
            for name in self.route(message):
                delivery = _delivery(next(self.numbers), name, message)
                if message.due_at is None or message.due_at <= now:
                    self.queue(name).put(delivery)
                else:
                    self.queue(name).put_delayed(message.due_at, delivery)
                self.wake(name)

    def wake(self, queue: str) -> None:
        """Wake the listeners of a queue."""
        for listener in self.listeners:
            if queue in listener.names:
                listener.wakeup.set()

    def task_ids(self) -> frozenset[str]:
        """Return the ids of all messages that wait or are claimed."""
        waiting = [each for queue in self.queues.values() for _, each in queue.ready]
        delayed = [each for queue in self.queues.values() for *_, each in queue.delayed]
        claimed = [each for owner in self.owners.values() for each in owner.claimed.values()]
        return frozenset(delivery.task_id for delivery in (*waiting, *delayed, *claimed))

    def prune(self, bounds: FailuresConfig, now: float) -> None:
        """Delete letters of failed tasks beyond their bounds."""
        failed = [
            Kept(number, kept.letter.died_at, size_of(kept.headers, kept.body, kept.evidence))
            for number, (kept, _) in self.dead.items()
            if kept.letter.kind is LetterKind.FAILED
        ]
        for number in excess(len(failed), sum(each.size for each in failed), failed, bounds, now):
            del self.dead[number]

    def give_back(self, delivery: Delivery, *, started: bool = True, deaths: int = 0) -> None:
        """Return a claimed message to its queue."""
        deliveries = delivery.deliveries - (not started)
        returned = msgspec.structs.replace(delivery, deliveries=deliveries, deaths=delivery.deaths + deaths)
        self.queue(delivery.queue).put(returned)
        self.wake(delivery.queue)

    def end_owner(self, name: str, *, unstarted: bool = False) -> None:
        """Delete a generation and return its claims; an unknown name does nothing."""
        owner = self.owners.pop(name, None)
        for delivery in owner.claimed.values() if owner else ():
            self.give_back(delivery, started=not unstarted)


class Listener:
    """A descriptor that wakes for some queues."""

    def __init__(self, hub: MemoryHub, names: Sequence[str]) -> None:
        self.names = list(names)
        self.wakeup = Wakeup()
        hub.listeners.add(self)


_hubs: dict[str, MemoryHub] = {}
_hubs_lock = threading.Lock()


def hub_of(url: str) -> MemoryHub:
    """Return the state that everything connected to this URL shares."""
    with _hubs_lock:
        return _hubs.setdefault(url, MemoryHub())


def _delivery(tag: int, queue: str, message: Outgoing) -> Delivery:
    return Delivery(
        tag=tag,
        queue=queue,
        task_id=message.task_id,
        headers=message.headers,
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        priority=min(max(message.priority, 0), 9),
        deliveries=0,
        deaths=0,
        reply_to=message.reply_to,
        correlation_id=message.correlation_id,
        exchange=message.exchange,
        routing_key=message.routing_key,
        properties=message.properties,
    )


def started(delivery: Delivery) -> Delivery:
    """Return the message with one delivery more."""
    return msgspec.structs.replace(delivery, deliveries=delivery.deliveries + 1)


def dead_message(delivery: Delivery, dead: Dead, now: float) -> DeadMessage:
    """Return a message as the desk shows it."""
    return DeadMessage(
        DeadLetter(
            id=delivery.tag,
            queue=delivery.queue,
            task=task_name(delivery.headers),
            task_id=delivery.task_id,
            reason=storable(dead.reason),
            died_at=now,
            deaths=delivery.deaths + dead.died,
            kind=dead.kind,
        ),
        evidence=dead.evidence,
        headers=delivery.headers,
        body=delivery.body,
        content_type=delivery.content_type,
        content_encoding=delivery.content_encoding,
    )
