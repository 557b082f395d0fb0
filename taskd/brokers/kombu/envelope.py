"""A message as kombu's transports carry it: a table of headers, properties, and a body.

Facts for which AMQP has no place stand in headers of our own, which are taken off before a worker sees the
others.  They are the time at which the message is due, how often it was delivered, and how many workers died
of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import isfinite
from typing import Any

import msgspec

from taskd.base.errors import BrokerError
from taskd.base.safe_text import storable
from taskd.protocol.delivery import Delivery, Outgoing

DUE_AT = "x-taskd-due-at"
DELIVERIES = "x-taskd-deliveries"
DEATHS = "x-taskd-deaths"
#: Quorum queues count by themselves how often a message came back.
_RETURNS = "x-delivery-count"
_OWN = frozenset({DUE_AT, DELIVERIES, DEATHS, _RETURNS})

#: Properties that have no place in a delivery, and those of them that go with a message that is sent again.
#: The server checks user_id, and an expiration would begin anew.
_OTHERS = ("app_id", "type", "user_id", "cluster_id", "timestamp", "expiration")
_SENT_AGAIN = ("app_id", "type")
#: More is a lie.
_MOST = 2**31 - 1

_encode = msgspec.json.Encoder().encode


class Arrived(msgspec.Struct, gc=False):
    """A message as a transport hands it over; the properties have py-amqp's names."""

    consumer: str
    handle: int | str
    redelivered: bool
    exchange: str
    routing_key: str
    properties: Mapping[str, Any] = {}
    body: bytes = b""
    #: The substitute for properties that cannot be read.
    unreadable: bytes = b""


class OpenedMessage(msgspec.Struct, gc=False):
    """A message that was received: the transport's handle for it, and what a worker gets to see."""

    handle: int | str
    delivery: Delivery
    #: Wall clock; 0 when it is due at once.
    due_at: float = 0.0
    #: Monotonic time of its arrival.
    since: float = 0.0


class Sealed(msgspec.Struct, frozen=True, gc=False):
    """A message to send."""

    exchange: str
    routing_key: str
    body: bytes
    headers: Mapping[str, object]
    properties: Mapping[str, object]


def seal(message: Outgoing, *, deliveries: int = 0, deaths: int = 0, due_at: float | None = None) -> Sealed:
    """Return a message as the transports take it.

    Raises: ``BrokerError`` for headers that are not a JSON object.
    """
    headers = headers_of(message.headers)
    due_at = message.due_at if due_at is None else due_at
    if due_at is not None:
        headers[DUE_AT] = due_at
    if deliveries:
        headers[DELIVERIES] = deliveries
    if deaths:
        headers[DEATHS] = deaths
    properties: dict[str, object] = {
        "content_type": message.content_type,
        "content_encoding": message.content_encoding,
        "delivery_mode": 2,
        "priority": max(0, min(9, message.priority)),
        "correlation_id": message.correlation_id or message.task_id,
    }
    if message.properties:
        kept = json.loads(message.properties)
        properties.update({name: kept[name] for name in _SENT_AGAIN if name in kept})
    if message.reply_to:
        properties["reply_to"] = message.reply_to
    if message.task_id:
        properties["message_id"] = message.task_id
    return Sealed(message.exchange, message.routing_key, message.body, headers, properties)


def headers_of(headers: bytes) -> dict[str, object]:
    """Return headers as a table.  Raises: ``BrokerError`` when they are not a JSON object."""
    try:
        # Not msgspec: what Python's json reads beyond JSON, such as NaN, must pass, for kombu lets it.
        table = json.loads(headers)
    except (ValueError, RecursionError) as refused:
        raise BrokerError(f"headers must be a JSON object: {refused}") from refused
    if not isinstance(table, dict):
        raise BrokerError(f"headers must be a JSON object, not {type(table).__name__}")
    return table


def text_of(headers: Mapping[str, Any]) -> bytes:
    """Return a table of headers as JSON text."""
    try:
        # msgspec writes a value that is not a number of JSON's as null.
        if all(isfinite(value) for value in headers.values() if isinstance(value, float)):
            return _encode(headers)
    except (TypeError, ValueError, RecursionError):
        pass  # a lone surrogate, or a value that only AMQP knows
    return json.dumps(headers, default=repr, separators=(",", ":")).encode()


def opened(arrived: Arrived, tag: int, queue: str) -> OpenedMessage:
    """Return the received message.  Any message becomes a delivery; its headers are changed."""
    properties = arrived.properties
    headers = properties.get("application_headers") or {}
    due_at = 0.0
    deliveries = 0
    deaths = 0
    returns = 1 if arrived.redelivered else 0
    if not _OWN.isdisjoint(headers):
        due_at = _number(headers.pop(DUE_AT, 0.0))
        deliveries = _count(headers.pop(DELIVERIES, 0))
        deaths = _count(headers.pop(DEATHS, 0))
        returns = max(returns, _count(headers.pop(_RETURNS, 0)))
    correlation_id = _text(properties.get("correlation_id"))
    priority = properties.get("priority")
    return OpenedMessage(
        arrived.handle,
        Delivery(
            tag,
            queue,
            _text(headers.get("id")) or _text(properties.get("message_id")) or correlation_id,
            arrived.unreadable or text_of(headers),
            arrived.body,
            _text(properties.get("content_type")),
            _text(properties.get("content_encoding")),
            max(0, min(9, int(priority))) if isinstance(priority, int) else 0,
            deliveries + returns + 1,
            deaths,
            _text(properties.get("reply_to")),
            correlation_id,
            arrived.exchange,
            arrived.routing_key,
            _rest(properties),
        ),
        due_at,
    )


def taken(raw: Any) -> Arrived:
    """Return a message of one of kombu's virtual transports."""
    properties = {
        **raw.properties,
        "content_type": raw.content_type,
        "content_encoding": raw.content_encoding,
        "application_headers": dict(raw.headers) if isinstance(raw.headers, Mapping) else {},
    }
    redelivered = bool(properties["application_headers"].pop("redelivered", False))
    info = raw.delivery_info or {}
    exchange = _text(info.get("exchange"))
    routing_key = _text(info.get("routing_key"))
    body = raw.body if isinstance(raw.body, (str, bytes)) else json.dumps(raw.body, default=repr)
    if isinstance(body, str):
        body = body.encode("utf-8", "surrogatepass")
    return Arrived("", raw.delivery_tag, redelivered, exchange, routing_key, properties, body)


def again(opened_: OpenedMessage, *, deliveries: int, deaths: int, due_at: float | None = None) -> Sealed:
    """Return the same message for its queue once more, with new counts."""
    return seal(opened_.delivery.again(), deliveries=deliveries, deaths=deaths, due_at=due_at)


def _rest(properties: Mapping[str, Any]) -> bytes | None:
    found = {name: properties[name] for name in _OTHERS if properties.get(name) is not None}
    return json.dumps(found, default=str).encode() if found else None


def _number(value: object) -> float:
    try:
        number = float(value) if isinstance(value, (int, float)) else 0.0
    except OverflowError:
        return 0.0
    return number if isfinite(number) else 0.0


def _count(value: object) -> int:
    return min(max(0, int(_number(value))), _MOST)


def _text(value: object) -> str:
    return storable(value) if isinstance(value, str) else ""
