"""Matches a routing key with the bindings of an exchange.  Pure: AMQP's rules, for all own brokers."""

from __future__ import annotations

from collections.abc import Mapping

from taskd.base.errors import BrokerError
from taskd.brokers.base import ExchangeType

#: Where events go.  kombu's Redis transport makes it a fanout whose channels end with the routing key.
EVENT_EXCHANGE = "celeryev"
#: A listener that is behind by more messages than this (each a batch of events) loses the oldest.
MAX_WAITING_EVENTS = 1000
#: The exchanges that taskd itself publishes to, with their types in AMQP.
OWN_EXCHANGES: Mapping[str, ExchangeType] = {
    EVENT_EXCHANGE: "topic",
    "celery.pidbox": "fanout",
    "reply.celery.pidbox": "direct",
}

EXCHANGE_TYPES: tuple[ExchangeType, ...] = ("direct", "topic", "fanout")


def exchange_type(name: str) -> ExchangeType:
    """Return the name as an exchange type.

    Raises: ``BrokerError`` for another, such as ``headers``.
    """
    for known in EXCHANGE_TYPES:
        if name == known:
            return known
    raise BrokerError(f'exchange type "{name}" is not supported; expected {", ".join(EXCHANGE_TYPES)}')


def matches(kind: ExchangeType, pattern: str, routing_key: str) -> bool:
    """Return whether a binding with ``pattern`` gets a message sent with ``routing_key``."""
    if kind == "fanout":
        return True
    if kind == "direct" or ("*" not in pattern and "#" not in pattern):
        return pattern == routing_key
    return _match_words(pattern.split("."), routing_key.split(".") if routing_key else [])


def _match_words(pattern: list[str], words: list[str]) -> bool:
    """Match ``*`` with one word and ``#`` with any number; the work is pattern times words."""
    # reachable[i]: the pattern so far matches the first i words.
    reachable = [True] + [False] * len(words)
    for wanted in pattern:
        if wanted == "#":
            first = reachable.index(True) if True in reachable else len(reachable)
            reachable = [position >= first for position in range(len(reachable))]
        else:
            reachable = [False] + [
                reachable[position] and wanted in ("*", word) for position, word in enumerate(words)
            ]
    return reachable[-1]
