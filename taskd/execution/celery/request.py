"""From a message to what Celery's tracer takes: the request as a table, and the arguments."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from typing import Any, cast

import msgspec
from kombu.compression import decompress
from kombu.serialization import loads, registry
from kombu.utils import json as kombu_json

from taskd.base.errors import SerializationError
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import headers_as_mapping

#: The parts of a body of protocol 1 that stand in the third place of one of protocol 2.
_LINKED = ("callbacks", "errbacks", "chord")


def request_of(delivery: Delivery, task_id: str, node_name: str) -> dict[str, Any]:
    """Return the fields of ``task.request`` that a message has without its body.

    Raises: ``ProtocolError`` when its headers are not a table.
    """
    correlation_id = delivery.correlation_id or task_id
    delivery_info = {
        "exchange": delivery.exchange,
        # A message that was put back came straight from its queue.
        "routing_key": delivery.routing_key or delivery.queue,
        "priority": delivery.priority,
        "redelivered": delivery.deliveries > 1,
    }
    properties = {
        **(_others(delivery.properties) if delivery.properties else {}),
        "correlation_id": correlation_id,
        "reply_to": delivery.reply_to,
        "content_type": delivery.content_type,
        "content_encoding": delivery.content_encoding,
        "priority": delivery.priority,
        "delivery_info": delivery_info,
    }
    return {
        **headers_as_mapping(delivery.headers),
        "properties": properties,
        "reply_to": delivery.reply_to,
        "correlation_id": correlation_id,
        "hostname": node_name,
        "delivery_info": delivery_info,
        "is_eager": False,
    }


def _others(properties: bytes) -> Mapping[str, Any]:
    try:
        return cast("Mapping[str, Any]", _decode(properties))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return cast("Mapping[str, Any]", json.loads(properties))


def arguments_of(
    delivery: Delivery, compression: str | None, accepted: Collection[str]
) -> tuple[list[Any], dict[str, Any], dict[str, Any]]:
    """Return the positional and the keyword arguments of a message, and the signatures linked to it.

    kombu reads it, with the serializers and compressions that the app has registered.
    Raises: ``SerializationError`` when it is not a body of a task; and whatever a serializer raises.
    """
    body: bytes = delivery.body
    if compression:
        body = decompress(body, compression)
    value = _plain(body, delivery, accepted)
    if value is None:
        value = loads(body, delivery.content_type, delivery.content_encoding, accept=accepted)
    if isinstance(value, dict) and not value.keys().isdisjoint(("task", "args", "kwargs")):
        linked = {name: value.get(name) for name in _LINKED}
        value = (value.get("args"), value.get("kwargs"), linked)
    if not isinstance(value, (list, tuple)) or len(value) not in (2, 3):
        raise SerializationError(
            f"task body is of type {type(value).__name__}; expected [args, kwargs, embed]"
        )
    args, kwargs, embed = value if len(value) == 3 else (*value, None)
    if args is not None and not isinstance(args, (list, tuple)):
        raise SerializationError(f"task body: args is of type {type(args).__name__}; expected a list")
    for name, part in (("kwargs", kwargs), ("embed", embed)):
        if part and not isinstance(part, Mapping):
            kind = type(part).__name__
            raise SerializationError(f"task body: {name} is of type {kind}; expected a mapping")
    return list(args or ()), dict(kwargs or {}), cast("dict[str, Any]", dict(embed or {}))


_JSON = "application/json"
_decode = msgspec.json.Decoder().decode


def _plain(body: bytes, delivery: Delivery, accepted: Collection[str]) -> object:
    """Return the value of a body of plain JSON, in a fraction of kombu's time; None: kombu must read it."""
    if (
        delivery.content_type != _JSON
        or _JSON not in accepted
        # The app may have put a serializer of its own in the place of kombu's.
        or registry._decoders.get(_JSON) is not kombu_json.loads
        # A value of one of kombu's types is for kombu.
        or b"__type__" in body
        or b"\\u005f" in body
        or b"\\u005F" in body
    ):
        return None
    try:
        return _decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None  # perhaps NaN, or a lone surrogate, which Python's own reader takes
