"""Values to JSON and back.

The bytes are those of kombu's JSON: a type that JSON lacks is written as
``{"__type__": "datetime", "__value__": ...}``.  In the common case msgspec does it, else the standard
library.  The former writes dates in a form of its own and NaN as null, so it gets only values in which
neither can occur.

A written value can be read again, and is the same but for its type where JSON has fewer of them.  A tuple
comes back as a list, a key as text, a subclass as its base.  A value of which that is not true is refused.

``taskd.protocol.content`` reads other content types; taskd itself writes JSON alone.
"""

from __future__ import annotations

import base64
import json
import re
from datetime import date, datetime, time
from decimal import Decimal
from itertools import repeat
from uuid import UUID

import msgspec

from taskd.base.errors import SerializationError
from taskd.protocol import budget

JSON = "application/json"
UTF_8 = "utf-8"

_SCALARS = frozenset({str, int, bool, type(None)})
_TEXT = frozenset({str})
#: Stands in every text with a value of a type that JSON lacks.
MARK = b'"__type__"'
_TYPED = {"__type__", "__value__"}
#: Python reads no decimal number of more than 4,300 digits, unless it is told to.
_LONG_INTEGER = 10**4300
_TOO_LONG = "an integer of more than 4,300 digits cannot be read again; send it as text"
# Errors of the standard library, and their meaning for the sender of the value.
_IN_WORDS = (("Exceeds the limit", _TOO_LONG), ("Circular reference", "a list or dict holds itself"))
_PAIR = re.compile("[\ud800-\udbff][\udc00-\udfff]")


def dumps(value: object) -> bytes:
    """Return the value as JSON in UTF-8.

    Raises: ``SerializationError`` naming the type that JSON cannot represent, or what would not come back.
    """
    try:
        if _is_plain(value):
            return msgspec.json.encode(value)
    except (ValueError, RecursionError):
        pass  # lone surrogates, which only the standard library writes; a cycle or a number that it names
    try:
        data = _encoder.encode(value).encode()
        _check_comes_back(value, 0)
        return data
    except (TypeError, ValueError) as error:
        why = next((words for begin, words in _IN_WORDS if str(error).startswith(begin)), error)
        raise SerializationError(f"the value cannot be written as JSON: {why}") from error
    except RecursionError as error:
        raise SerializationError("the value cannot be written as JSON: it is nested too deeply") from error


def loads(data: bytes) -> object:
    """Return the value of a JSON text in UTF-8.

    Raises: ``SerializationError`` saying where the text is not JSON, or that it is over the budget.
    """
    budget.check_json(data)
    if MARK not in data:
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


def _is_plain(value: object, depth: int = 0) -> bool:
    """Whether msgspec and kombu write the value alike: exact JSON types, finite numbers, text keys."""
    kind = type(value)
    if kind in _SCALARS:
        return True
    if kind is float:
        return bool(value - value == 0.0)  # type: ignore[operator]  # false for NaN and the infinities
    if depth > budget.MOST_DEPTH:
        return False
    if kind is list or kind is tuple:
        parts = value
    elif kind is dict:
        if not _TEXT.issuperset(map(type, value)) or value.keys() == _TYPED:  # type: ignore[call-overload,attr-defined]
            return False
        parts = value.values()  # type: ignore[attr-defined]
    else:
        return False
    return _SCALARS.issuperset(map(type, parts)) or all(map(_is_plain, parts, repeat(depth + 1)))  # type: ignore[call-overload]


def _check_comes_back(value: object, depth: int) -> None:
    """Raise ``ValueError`` for what would be read as something else, or not at all."""
    if depth > budget.MOST_DEPTH:
        raise ValueError(f"it is nested deeper than {budget.MOST_DEPTH} levels")
    if isinstance(value, str):
        if not value.isascii() and _PAIR.search(value):
            raise ValueError("text with two lone surrogates in a row would come back as one character")
    elif isinstance(value, int):
        if not -_LONG_INTEGER < value < _LONG_INTEGER:
            raise ValueError(_TOO_LONG)
    elif isinstance(value, dict):
        if value.keys() == _TYPED:
            raise ValueError('a dict of "__type__" and "__value__" alone would be read as a typed value')
        if len({_key(key) for key in value}) < len(value):
            raise ValueError("two keys of a dict have the same text, and JSON has only text for keys")
        for key, part in value.items():
            _check_comes_back(key, depth + 1)
            _check_comes_back(part, depth + 1)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _check_comes_back(part, depth + 1)


def _key(key: object) -> str:
    """Return a key as the standard library writes it."""
    return key if isinstance(key, str) else json.dumps(key)


def _typed(kind: str, value: object) -> dict[str, object]:
    return {"__type__": kind, "__value__": value}


def _encode_special(value: object) -> object:
    """Write what JSON lacks as kombu does; datetime stands before date, of which it is a subclass."""
    reducer = getattr(value, "__json__", None)
    if reducer is not None:
        reduced: object = reducer()
        if isinstance(reduced, dict):
            special(reduced)  # a dict that looks like a typed value must be one
        return reduced
    match value:
        case datetime() | date() | time():
            return _moment(value)
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
    of_numpy = "value.item() or array.tolist(), " if kind.__module__.partition(".")[0] == "numpy" else ""
    raise TypeError(
        f'JSON cannot hold the type "{kind.__module__}.{kind.__qualname__}"; use {of_numpy}text, numbers, '
        f"lists, dicts, dates, Decimal, UUID or bytes, or send an id and load the object in the task"
    )


def _moment(value: datetime | date | time) -> object:
    """Write a date or a time if it comes back equal; pandas' NaT and its nanoseconds do not."""
    kind = "datetime" if isinstance(value, datetime) else "date" if isinstance(value, date) else "time"
    text = value.isoformat()
    written = _typed(kind, text)
    lost_zone = isinstance(value, time) and value.tzinfo is not None and value.utcoffset() is None
    try:
        same = bool(special(written) == value) and not lost_zone
    except ValueError:
        same = False
    if not same:
        raise ValueError(
            f"the {kind} {text!r} of type {type(value).__name__} would not come back as it is; send text"
        )
    return written


def special(item: dict[str, object]) -> object:  # noqa: PLR0911 - one for each type
    """Return the value that kombu's JSON writes as an object with its type; any other object as it is.

    Raises: ``ValueError`` and the other errors of the types' own readers.
    """
    if item.keys() != _TYPED:
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
