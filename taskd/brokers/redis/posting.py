"""Where a message goes: one command for each list, set or channel that gets it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from taskd.brokers.base import ExchangeType
from taskd.brokers.redis.envelope import seal
from taskd.brokers.redis.keys import SEPARATOR, step_of
from taskd.brokers.redis.store import BrokerDatabase, delayed_member
from taskd.brokers.topology import EVENT_EXCHANGE, OWN_EXCHANGES, exchange_type, matches
from taskd.protocol.delivery import Outgoing
from taskd.storage.redis.line import Command
from taskd.storage.redis.link import RedisLink


class _Eta(msgspec.Struct, gc=False):
    eta: str | None = None


_eta_decoder = msgspec.json.Decoder(_Eta)


def place(store: BrokerDatabase, message: Outgoing, queue: str, *, once: bool = False) -> Command:
    """Return the command that puts a message into a queue, or among what is not due yet."""
    envelope = seal(message, queue, once=once)
    step = step_of(message.priority)
    if message.due_at is not None and message.due_at > store.now() and not _says_when(message):
        member = delayed_member(store.now(), step, envelope)
        return ("ZADD", store.keys.delayed(queue), f"{message.due_at:.6f}", member)
    return ("LPUSH", store.keys.queue(queue, step), envelope)


def _says_when(message: Outgoing) -> bool:
    """Return whether the message itself says when it is due.

    Such a one goes to the queue at once: a Celery worker that shares it would not look elsewhere, and
    ours puts it off when it sees it.
    """
    try:
        return bool(_eta_decoder.decode(message.headers).eta)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return False


class Exchanges:
    """Routes messages to named exchanges as kombu does: by the bindings that stand in Redis."""

    def __init__(self, store: BrokerDatabase, link: RedisLink) -> None:
        self._store = store
        self._link = link
        self._types: dict[str, ExchangeType] = dict(types())

    def commands(self, message: Outgoing) -> list[Command]:
        """Return the commands that send a message to all queues of its exchange.  May ask the server."""
        keys = self._store.keys
        kind = self._type_of(message.exchange)
        if kind == "fanout":
            channel = keys.channel(message.exchange, message.routing_key)
            return [("PUBLISH", channel, seal(message, message.routing_key))]
        return [
            place(self._store, message, queue) for queue in self.bound(message.exchange, message.routing_key)
        ]

    def bound(self, exchange: str, routing_key: str) -> Sequence[str]:
        """Return the queues to which an exchange sends what has this routing key.  Asks the server."""
        if not exchange:
            return (routing_key,)
        queues = set()
        for binding in self._link.call("SMEMBERS", self._store.keys.binding(exchange)):
            # Between the two stands kombu's regular expression for topics, which says the same.
            bound_key, _, queue = binding.decode().split(SEPARATOR)
            if matches(self._type_of(exchange), bound_key, routing_key):
                queues.add(queue)
        return sorted(queues)

    def _type_of(self, exchange: str) -> ExchangeType:
        if exchange not in self._types:
            known = self._link.call("HGET", self._store.keys.exchanges, exchange)
            # kombu writes no types down; an exchange of Celery's queues is direct.
            self._types[exchange] = exchange_type(known.decode()) if known else "direct"
        return self._types[exchange]


def types() -> Mapping[str, ExchangeType]:
    """Return the types of taskd's own exchanges as kombu's Redis transport has them."""
    return {**OWN_EXCHANGES, EVENT_EXCHANGE: "fanout"}


def grouped(commands: Sequence[Command]) -> list[Command]:
    """Join pushes to the same list into one command each; the order within a list is kept."""
    pushes: dict[object, list[object]] = {}
    rest: list[Command] = []
    for command in commands:
        if command[0] == "LPUSH":
            pushes.setdefault(command[1], []).append(command[2])
        else:
            rest.append(command)
    return [*(("LPUSH", key, *values) for key, values in pushes.items()), *rest]  # type: ignore[list-item]
