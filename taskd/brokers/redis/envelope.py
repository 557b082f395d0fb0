"""kombu's JSON envelope of a message on Redis, read and written.

The headers are carried through as they stand.  kombu has no place for two facts: how often a message was
delivered and how many workers died of it.  They stand in ``properties`` under a name of our own, which Celery
ignores.  Text on a list that is not an envelope is still a message: a delivery with empty headers, which the
worker refuses and parks with its reason.
"""

from __future__ import annotations

import json
from base64 import b64decode
from os import urandom
from typing import Any

import msgspec

from taskd.base.errors import BrokerError, SerializationError
from taskd.brokers.redis.keys import STEPS
from taskd.protocol import budget
from taskd.protocol.delivery import Delivery, Outgoing


class _Properties(msgspec.Struct, omit_defaults=True):
    correlation_id: str | None = ""
    reply_to: str | None = ""
    delivery_mode: int = 0
    delivery_info: dict[str, object] = {}
    priority: int | None = None
    body_encoding: str = ""
    delivery_tag: str | int | None = ""
    #: Properties that senders choose, and that taskd does not read.
    app_id: object = None
    type: object = None
    user_id: object = None
    timestamp: object = None
    message_id: object = None
    expiration: object = None
    #: Deliveries that may have run, and deaths, so far.
    taskd: tuple[int, int] = (0, 0)
    #: The message's id is remembered, so that it is sent once.
    taskd_once: bool = False


class _Envelope(msgspec.Struct, rename=lambda name: name.replace("_", "-")):
    body: str | None = ""
    content_encoding: str | None = "utf-8"
    content_type: str | None = "application/json"
    headers: msgspec.Raw = msgspec.Raw(b"{}")
    properties: _Properties = msgspec.field(default_factory=_Properties)


class _Anything(msgspec.Struct):
    """Any JSON object: its fields are passed over."""


class OpenedEnvelope(msgspec.Struct, frozen=True, gc=False):
    """An envelope that was read: the delivery, and what is needed to put it back."""

    delivery: Delivery
    key: bytes
    raw: bytes
    once: bool


_OTHERS = ("app_id", "type", "user_id", "timestamp", "message_id", "expiration")
#: No honest count is higher.
_MOST = 1_000_000

_decoder = msgspec.json.Decoder(_Envelope)
_raw_fields = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any_object = msgspec.json.Decoder(_Anything)
_encode = msgspec.json.Encoder().encode


def seal(message: Outgoing, queue: str, *, once: bool = False) -> bytes:
    """Return the envelope of a message.  Raises: ``BrokerError`` for headers that JSON cannot carry."""
    return _encode(
        {
            "body": message.body,  # as base64, which is msgspec's form of bytes
            "content-encoding": message.content_encoding,
            "content-type": message.content_type,
            "headers": _headers(message.headers),
            "properties": {
                "correlation_id": message.correlation_id or message.task_id,
                "reply_to": message.reply_to,
                "delivery_mode": 2,
                "delivery_info": {"exchange": message.exchange, "routing_key": message.routing_key or queue},
                "priority": max(0, min(9, message.priority)),
                "body_encoding": "base64",
                "delivery_tag": urandom(16).hex(),
                **({"taskd_once": True} if once else {}),
                **(json.loads(message.properties) if message.properties else {}),
            },
        }
    )


def _headers(headers: bytes) -> msgspec.Raw:
    try:
        _any_object.decode(headers)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as refused:
        # Values that Python's json reads and writes beyond JSON, such as NaN, must pass: kombu lets them.
        try:
            is_object = isinstance(json.loads(headers), dict)
        except (ValueError, RecursionError):
            is_object = False
        if not is_object:
            raise BrokerError(
                f"headers that are sent over Redis must be a JSON object: {refused}"
            ) from refused
    return msgspec.Raw(headers)


def read(raw: bytes, tag: int, key: bytes, queue: str, step: int) -> OpenedEnvelope:
    """Return the content of a list's item.  Any content becomes a delivery."""
    try:
        budget.check_json(raw, "the envelope", budget.of_envelope())
        envelope = _decoder.decode(raw)
        body = _body(envelope)
    except SerializationError:
        envelope = _garbage()
        body = raw
    except (msgspec.MsgspecError, ValueError, RecursionError):
        envelope, body = _leniently(raw)
    properties = envelope.properties
    info = properties.delivery_info
    deliveries, deaths = properties.taskd
    if not (0 <= deliveries <= _MOST and 0 <= deaths <= _MOST):
        deliveries = 0
        deaths = 0
    priority = STEPS[step] if properties.priority is None else max(0, min(9, properties.priority))
    headers = bytes(envelope.headers)
    return OpenedEnvelope(
        Delivery(
            tag,
            queue,
            _task_id(headers) or properties.correlation_id or "",
            headers,
            body,
            envelope.content_type or "",
            envelope.content_encoding or "",
            priority,
            deliveries + 1,
            deaths,
            properties.reply_to or "",
            properties.correlation_id or "",
            _text(info.get("exchange")),
            _text(info.get("routing_key")) or queue,
            _rest(properties),
        ),
        key,
        raw,
        properties.taskd_once,
    )


def returned(opened: OpenedEnvelope, *, deliveries: int, deaths: int) -> bytes:
    """Return the envelope to put back, with new counts; all else stays as it was."""
    if (deliveries, deaths) == (opened.delivery.deliveries - 1, opened.delivery.deaths):
        return opened.raw
    try:
        fields = json.loads(opened.raw)
        fields["properties"] = {**fields.get("properties", {}), "taskd": (deliveries, deaths)}
    except (ValueError, TypeError, AttributeError, RecursionError):
        return opened.raw  # no envelope: it has no place for counts, and does not run
    return json.dumps(fields, separators=(",", ":")).encode()


def with_headers(raw: bytes, headers: bytes) -> bytes:
    """Return an envelope with other headers; one that cannot be read stays as it is."""
    try:
        fields = _raw_fields.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return raw
    fields["headers"] = msgspec.Raw(headers)
    return _encode(fields)


def restored(envelope: dict[str, Any]) -> tuple[bytes, int]:
    """Return kombu's note of a claim as it goes back to a list, counted and marked, and its priority.

    Raises: ``AttributeError``, ``TypeError`` or ``ValueError`` when it is not an envelope.
    """
    properties = envelope.setdefault("properties", {})
    if isinstance(headers := envelope.get("headers"), dict):
        headers["redelivered"] = True
    if isinstance(info := properties.get("delivery_info"), dict):
        info["redelivered"] = True
    try:
        deliveries, deaths = msgspec.convert(properties.get("taskd", (0, 0)), tuple[int, int])
    except msgspec.ValidationError:
        deliveries = 0
        deaths = 0
    properties["taskd"] = (deliveries + 1, deaths)
    priority = int(properties.get("priority") or 0)
    return json.dumps(envelope, separators=(",", ":")).encode(), priority


class _Identified(msgspec.Struct, gc=False):
    id: str | int = ""


_id_decoder = msgspec.json.Decoder(_Identified)


def _task_id(headers: bytes) -> str:
    try:
        return str(_id_decoder.decode(headers).id)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""


def _body(envelope: _Envelope) -> bytes:
    body = envelope.body or ""
    if envelope.properties.body_encoding == "base64":
        return b64decode(body)
    return body.encode("utf-8", "surrogatepass")


def _leniently(raw: bytes) -> tuple[_Envelope, bytes]:
    """Read what msgspec refuses: NaN in a header, or a field that another producer writes its own way."""
    try:
        fields = json.loads(raw)
        given = fields.get("properties") or {}
        info = given.get("delivery_info")
        counts = given.get("taskd")
        envelope = _Envelope(
            body=_body_text(fields.get("body")),
            content_encoding=_text(fields.get("content-encoding")),
            content_type=_text(fields.get("content-type")),
            headers=msgspec.Raw(json.dumps(fields.get("headers") or {}).encode()),
            properties=_Properties(
                correlation_id=_text(given.get("correlation_id")),
                reply_to=_text(given.get("reply_to")),
                delivery_info=info if isinstance(info, dict) else {},
                priority=_priority(given.get("priority")),
                body_encoding=_text(given.get("body_encoding")),
                taskd=msgspec.convert(counts, tuple[int, int]) if counts else (0, 0),
                taskd_once=given.get("taskd_once") is True,
            ),
        )
    except (ValueError, TypeError, AttributeError, RecursionError, msgspec.MsgspecError):
        return _garbage(), raw
    for name in _OTHERS:
        setattr(envelope.properties, name, given.get(name))
    try:
        return envelope, _body(envelope)
    except ValueError:  # no base64: its headers say at least who waits
        return envelope, (envelope.body or "").encode("utf-8", "surrogatepass")


def _garbage() -> _Envelope:
    return _Envelope(
        headers=msgspec.Raw(b""), content_type="application/octet-stream", content_encoding="binary"
    )


def _rest(properties: _Properties) -> bytes | None:
    found = {name: value for name in _OTHERS if (value := getattr(properties, name)) is not None}
    return json.dumps(found).encode() if found else None


def _text(value: object) -> str:
    # Half a character (a lone surrogate) cannot be passed on in UTF-8.
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _body_text(value: object) -> str:
    """Return a body as text, also of a producer that forgot to make text of it."""
    return value if isinstance(value, str) else "" if value is None else json.dumps(value)


def _priority(value: object) -> int | None:
    if isinstance(value, str) and value.isdecimal() and len(value) == 1:
        return int(value)
    return min(9, max(0, value)) if isinstance(value, int) and not isinstance(value, bool) else None
