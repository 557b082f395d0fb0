"""The content header of an AMQP message: its properties and its table of headers, read in one go.

py-amqp reads field by field through generic readers, and that was half of what a message cost a worker.  All
types are read that RabbitMQ lets pass, and any content of them becomes a value.  A date that does not exist
must not bring down the connection of every worker that meets it.  Names and properties come out no longer
than they are, and without bytes that are not text, for they may have to be written again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from decimal import Decimal
from functools import lru_cache
from struct import Struct
from struct import error as StructError
from typing import Any

from taskd.base.errors import ProtocolError
from taskd.base.plural import counted

_u32 = Struct(">I").unpack_from
_u64 = Struct(">Q").unpack_from
_decimal = Struct(">Bi").unpack_from
#: Types of a fixed size.  "l" and "L" are both signed, as RabbitMQ and py-amqp have it.
_NUMBERS: Mapping[int, tuple[Callable[[bytes, int], tuple[Any]], int]] = {
    ord(letter): (Struct(form).unpack_from, Struct(form).size)
    for letter, form in (
        *(("b", ">b"), ("B", ">B"), ("s", ">h"), ("U", ">h"), ("u", ">H"), ("I", ">i"), ("i", ">I")),
        *(("l", ">q"), ("L", ">q"), ("f", ">f"), ("d", ">d"), ("t", ">?")),
    )
}
_TEXT, _VOID, _TABLE, _ARRAY, _BYTES, _TIME, _DECIMAL = b"SVFAxTD"
#: Nobody writes deeper tables by mistake.
_MOST_LEVELS = 64
#: By falling bits of the flags, from the highest: names, and how each is written.
PROPERTIES = (
    *(("content_type", "text"), ("content_encoding", "text"), ("application_headers", "table")),
    *(("delivery_mode", "octet"), ("priority", "octet"), ("correlation_id", "text"), ("reply_to", "text")),
    *(("expiration", "text"), ("message_id", "text"), ("timestamp", "time"), ("type", "text")),
    *(("user_id", "text"), ("app_id", "text"), ("cluster_id", "text")),
)


def read_properties(frame: bytes, at: int, end: int) -> dict[str, Any]:
    """Read flags and properties from ``at`` to ``end``; they have the names that py-amqp gives them.

    Raises: ``ProtocolError`` when they do not end there, or hold what no client writes.
    """
    found: dict[str, Any] = {}
    try:
        flags = frame[at] << 8 | frame[at + 1]
        at += 2
        for name, kind in _layout(flags):
            if kind == "text":
                stop = at + 1 + frame[at]
                found[name] = frame[at + 1 : stop].decode("utf-8", "ignore")
                at = stop
            elif kind == "octet":
                found[name] = frame[at]
                at += 1
            elif kind == "table":
                (size,) = _u32(frame, at)
                at += 4 + size
                found[name] = _table(frame, at - size, at, 1)
            else:
                (found[name],) = _u64(frame, at)
                at += 8
    except (StructError, IndexError) as error:
        raise ProtocolError(f"the properties end too soon: {error}") from error
    if at != end:
        raise ProtocolError(
            f"the properties end {counted(abs(end - at), 'byte')} {'late' if at > end else 'early'}"
        )
    return found


@lru_cache(256)
def _layout(flags: int) -> tuple[tuple[str, str], ...]:
    if flags & 3:
        raise ProtocolError(f"unknown properties: flags {flags:#06x}")
    return tuple(each for bit, each in enumerate(PROPERTIES) if flags & (0x8000 >> bit))


def _table(frame: bytes, at: int, end: int, level: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    while at < end:
        stop = at + 1 + frame[at]
        name = frame[at + 1 : stop].decode("utf-8", "ignore")
        kind = frame[stop]
        # The common types first, and in place.
        if kind == _TEXT:
            (size,) = _u32(frame, stop + 1)
            at = stop + 5 + size
            try:
                found[name] = frame[stop + 5 : at].decode()
            except UnicodeDecodeError:
                found[name] = _odd_text(frame[stop + 5 : at])
        elif kind == _VOID:
            at = stop + 1
            found[name] = None
        elif (number := _NUMBERS.get(kind)) is not None:
            read, size = number
            (found[name],) = read(frame, stop + 1)
            at = stop + 1 + size
        else:
            found[name], at = _value(frame, stop, level)
    _check_end(at, end)
    return found


def _array(frame: bytes, at: int, end: int, level: int) -> list[Any]:
    found = []
    while at < end:
        value, at = _value(frame, at, level)
        found.append(value)
    _check_end(at, end)
    return found


def _check_end(at: int, end: int) -> None:
    if at != end:
        raise ProtocolError("a value is longer than the table that holds it")


def _value(frame: bytes, at: int, level: int) -> tuple[Any, int]:
    """Return one value, and where the next begins."""
    kind = frame[at]
    at += 1
    number = _NUMBERS.get(kind)
    if number is not None:
        read, size = number
        return read(frame, at)[0], at + size
    if kind == _VOID:
        return None, at
    if kind == _TIME:
        return _time(*_u64(frame, at)), at + 8
    if kind == _DECIMAL:
        places, digits = _decimal(frame, at)
        return Decimal(digits).scaleb(-places), at + 5
    return _sized(kind, frame, at, level)


def _sized(kind: int, frame: bytes, at: int, level: int) -> tuple[Any, int]:
    """Return a value that begins with its size."""
    if kind not in {_TEXT, _BYTES, _TABLE, _ARRAY}:
        raise ProtocolError(f"a value has the unknown type {chr(kind)!r}")
    (size,) = _u32(frame, at)
    at += 4
    end = at + size
    if kind == _TEXT:
        return _odd_text(frame[at:end]), end
    if kind == _BYTES:
        return frame[at:end], end
    if level >= _MOST_LEVELS:
        raise ProtocolError(f"tables are nested deeper than {_MOST_LEVELS} levels")
    read = _table if kind == _TABLE else _array
    return read(frame, at, end, level + 1), end


def _odd_text(raw: bytes) -> str | bytes:
    """Return text, also with lone surrogates as py-amqp writes them; bytes when it is not text."""
    try:
        return raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return raw


def _time(seconds: int) -> datetime | int:
    """Return a time in UTC, naive as py-amqp's; the number for what lies beyond all calendars."""
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).replace(tzinfo=None)
    except (ValueError, OverflowError, OSError):
        return seconds
