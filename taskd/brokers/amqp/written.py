"""A message to send as AMQP's frames, byte for byte what py-amqp would write, in a third of the time.

Headers come from JSON, so its types are all there are.  Values for which AMQP has no room are refused before
anything is sent: numbers beyond 64 bits, NaN and infinity, names and properties longer than 255 bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from struct import Struct
from struct import error as StructError

from taskd.base.errors import BrokerError
from taskd.brokers.amqp.fields import PROPERTIES
from taskd.brokers.kombu.envelope import Sealed

_head = Struct(">BHI").pack
#: Class and method of basic.publish, and a field that is not used any more.
_publish = Struct(">HHH").pack
_content = Struct(">HHQH").pack
_octet = Struct(">B").pack
_u32 = Struct(">I").pack
_kind_u32 = Struct(">cI").pack
_i32 = Struct(">ci").pack
_i64 = Struct(">cq").pack
_double = Struct(">cd").pack
_CONSTANTS = {None: b"V", False: b"t\x00", True: b"t\x01"}
_METHOD = 1
_HEADER = 2
_BODY = 3
_END = b"\xce"
_AROUND_BYTES = 8


def frames(channel: int, message: Sealed, *, mandatory: bool, frame_max: int) -> list[bytes]:
    """Return the frames that publish a message over a channel.

    ``mandatory`` has the server send the message back if no queue takes it.
    Raises: ``BrokerError`` for what AMQP cannot carry.
    """
    body = message.body
    try:
        method = b"".join(
            (_publish(60, 40, 0), _short(message.exchange), _short(message.routing_key), _octet(mandatory))
        )
        header = _properties(len(body), message)
    except (StructError, UnicodeError, RecursionError) as refused:
        raise BrokerError(f"AMQP cannot carry this message: {refused}") from refused
    if len(header) + _AROUND_BYTES > frame_max:
        raise BrokerError(f"AMQP cannot carry this message: {len(header)} bytes of headers")
    step = frame_max - _AROUND_BYTES
    pieces = [body] if len(body) <= step else [body[at : at + step] for at in range(0, len(body), step)]
    return [
        _frame(_METHOD, channel, method),
        _frame(_HEADER, channel, header),
        *(_frame(_BODY, channel, piece) for piece in pieces if piece),
    ]


def refusal(message: Sealed, frame_max: int) -> str:
    """Return why AMQP cannot carry a message, empty if it can."""
    try:
        frames(1, message, mandatory=False, frame_max=frame_max)
    except BrokerError as refused:
        return str(refused)
    return ""


def _frame(kind: int, channel: int, payload: bytes) -> bytes:
    return b"".join((_head(kind, channel, len(payload)), payload, _END))


def _properties(body_bytes: int, message: Sealed) -> bytes:
    flags = 0
    parts = []
    for bit, (name, kind) in enumerate(PROPERTIES):
        value = message.headers if kind == "table" else message.properties.get(name)
        if value is None:
            continue
        flags |= 0x8000 >> bit
        if isinstance(value, str):
            parts.append(_short(value))
        elif isinstance(value, int):
            parts.append(_octet(value))
        else:
            parts.append(_table(message.headers))
    return b"".join((_content(60, 0, body_bytes, flags), *parts))


def _short(text: str) -> bytes:
    raw = text.encode("utf-8", "surrogatepass")
    return _octet(len(raw)) + raw


def _table(table: Mapping[str, object]) -> bytes:
    parts: list[bytes] = []
    for name, value in table.items():
        parts += (_short(name), _value(value))
    raw = b"".join(parts)
    return _u32(len(raw)) + raw


def _value(value: object) -> bytes:
    if isinstance(value, str):
        raw = value.encode("utf-8", "surrogatepass")
        return _kind_u32(b"S", len(raw)) + raw
    if value is None or isinstance(value, bool):
        return _CONSTANTS[value]
    if isinstance(value, int):
        # As py-amqp has it, without the smallest number of 32 bits.
        return _i32(b"I", value) if -(2**31) < value < 2**31 else _i64(b"L", value)
    if isinstance(value, float) and isfinite(value):
        return _double(b"d", value)
    if isinstance(value, dict):
        return b"F" + _table(value)
    if isinstance(value, (list, tuple)):
        raw = b"".join([_value(each) for each in value])
        return _kind_u32(b"A", len(raw)) + raw
    # RabbitMQ closes the connection over NaN and infinity: Erlang has none.
    raise BrokerError(f"AMQP cannot carry this message: {value!r:.60} in its headers")
