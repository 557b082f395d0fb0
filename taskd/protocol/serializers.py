"""Values to JSON and back.

The bytes are those of kombu's JSON: what JSON lacks is written as
``{"__type__": "datetime", "__value__": ...}``.  msgspec does the common case, the standard library
the rest: msgspec writes dates in a form of its own and NaN as null, so it gets only values in which
neither can occur.

What others than JSON have written is read by ``taskd.protocol.content``; taskd itself writes JSON alone.
"""

from __future__ import annotations

import base64
import json
from datetime import date, datetime, time
from decimal import Decimal
from uuid import UUID

import msgspec

from taskd.errors import SerializationError
from taskd.protocol import budget

JSON = "application/json"
UTF_8 = "utf-8"

_SCALARS = frozenset({str, int, bool, type(None)})
_TEXT = frozenset({str})
_MARK = b'"__type__"'


def dumps(value: object) -> bytes:
    """Return the value as JSON in UTF-8.

    Raises: ``SerializationError`` naming the type that JSON cannot represent.
    """
    try:
        if _is_plain(value):
            return msgspec.json.encode(value)
    except (UnicodeEncodeError, RecursionError):
        pass  # lone surrogates, which only the standard library writes; a cycle, which it names
    try:
        return _encoder.encode(value).encode()
    except (TypeError, ValueError) as error:
        raise SerializationError(f"the value cannot be written as JSON: {error}") from error
    except RecursionError as error:
        raise SerializationError("the value cannot be written as JSON: it is nested too deeply") from error


def loads(data: bytes) -> object:
    """Return the value of a JSON text in UTF-8.

    Raises: ``SerializationError`` saying where the text is not JSON, or that it is over the budget.
    """
    budget.check_json(data)
    if _MARK not in data:
        try:
            return msgspec.json.decode(data)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # NaN, 1e400 and lone surrogates: kombu writes them, the standard library reads them
        except RecursionError as error:
            raise SerializationError("the JSON text is nested too deeply") from error
    try:
        return _decoder.decode(data.decode())
    except RecursionError as error:
        raise SerializationError("the JSON text is nested too deeply") from error
    except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError) as error:
        raise SerializationError(f"the text is not the JSON that kombu writes: {error}") from error


def _is_plain(value: object) -> bool:
    """Whether msgspec and kombu write the value alike: exact JSON types, finite numbers, text keys."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is float:
        return bool(value - value == 0.0)  # type: ignore[operator]  # false for NaN and the infinities
    if kind is list or kind is tuple:
        parts = value
    elif kind is dict:
        if not _TEXT.issuperset(map(type, value)):  # type: ignore[call-overload]
            return False
        parts = value.values()  # type: ignore[attr-defined]
    else:
        return False
    return _SCALARS.issuperset(map(type, parts)) or all(map(_is_plain, parts))  # type: ignore[call-overload]


def _typed(kind: str, value: object) -> dict[str, object]:
    return {"__type__": kind, "__value__": value}


def _encode_special(value: object) -> object:  # noqa: PLR0911 - one for each type
    """Write what JSON lacks as kombu does; datetime stands before date, of which it is a subclass."""
    reducer = getattr(value, "__json__", None)
    if reducer is not None:
        reduced: object = reducer()
        return reduced
    match value:
        case datetime():
            return _typed("datetime", value.isoformat())
        case date():
            return _typed("date", value.isoformat())
        case time():
            return _typed("time", value.isoformat())
        case Decimal():
            return _typed("decimal", str(value))
        case UUID():
            return _typed("uuid", {"hex": value.hex})
        case bytes():
            try:
                return _typed("bytes", value.decode())
            except UnicodeDecodeError:
                return _typed("base64", base64.b64encode(value).decode())
    kind = type(value)
    raise TypeError(
        f'no JSON for type "{kind.__module__}.{kind.__qualname__}"; use text, numbers, lists, dicts, dates, '
        f"Decimal, UUID or bytes, or send an id and load the object in the task"
    )


def special(item: dict[str, object]) -> object:  # noqa: PLR0911 - one for each type
    """Return the value that kombu's JSON writes as an object with its type; any other object as it is.

    Raises: ``ValueError`` and the other errors of the types' own readers.
    """
    if item.keys() != {"__type__", "__value__"}:
        return item
    value = item["__value__"]
    match item["__type__"], value:
        case "datetime", str():
            return datetime.fromisoformat(value)
        case "date", str():
            return datetime.fromisoformat(value).date()
        case "time", str():
            return time.fromisoformat(value)
        case "decimal", str():
            return Decimal(value)
        case "uuid", {"hex": str(digits)}:
            return UUID(hex=digits)
        case "bytes", str():
            return value.encode()
        case "base64", str():
            return base64.b64decode(value)
    raise ValueError(f"type {item['__type__']!r} with value {str(value)[:100]!r} is not known")


_encoder = json.JSONEncoder(default=_encode_special, separators=(",", ":"))
_decoder = json.JSONDecoder(object_hook=special)
