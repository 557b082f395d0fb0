"""The headers of producers that write them otherwise than Celery itself: read by what they clearly mean.

Celery's worker looks at few headers closely and runs what another language wrote: ``retries: null``, an
``expires`` that is a date, an integer for a group.  Each header has a function here that returns what its
value means, or raises ``ValueError`` with the expected form.  A header that only describes the task never
raises.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta, timezone
from math import isfinite
from uuid import UUID

from taskd.protocol import serializers
from taskd.protocol.message_repr import bounded_repr

#: More retries than a message can have had.
MOST_RETRIES = 2**31 - 1
#: Up to 126 years: more is a lie, and 1e308 overflows alarms, dates and sums.
LONGEST_S = 4e9

_FALSE = frozenset({"", "0", "false", "no", "off", "none", "null"})
# The forms that dateutil's isoparse reads, which Celery uses, but for ordinal dates and weeks.
_MOMENT = re.compile(
    r"(\d{4})(?:-?(\d{2})(?:-?(\d{2}))?)?"
    r"(?:[T _]?(\d{2})(?::?(\d{2})(?::?(\d{2})(?:[.,](\d+))?)?)?\s*(Z|[+-]\d{2}(?::?\d{2})?)?)?",
    re.ASCII | re.IGNORECASE,
)


def understood(fields: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """Return the known headers by what they mean, and for each that means nothing a text that names it.

    Headers that nobody asks about are not among them.
    """
    meant: dict[str, object] = {}
    unclear: list[str] = []
    for name, reader in _READERS.items():
        if name not in fields:
            continue
        try:
            meant[name] = reader(_typed(fields[name]))
        except (ValueError, OverflowError) as error:
            unclear.append(f"{name} is {bounded_repr(fields[name])[:200]}; expected {error}")
    return meant, unclear


def moment(value: object) -> datetime | None:
    """Return a time in any of the forms of ISO 8601 that producers write; None for an empty value.

    Raises: ``ValueError`` saying what was expected.
    """
    if isinstance(value, datetime):
        return value
    if not value:
        return None
    found = _MOMENT.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None:
        raise ValueError("a time such as 2026-08-20T12:00:00+00:00")
    year, month, day, hour, minute, second, fraction, zone = found.groups()
    try:
        micros = (fraction or "")[:6].ljust(6, "0")
        minutes = int(minute or 0)
        seconds = int(second or 0)
        microseconds = int(micros)
        midnight = datetime(int(year), int(month or 1), int(day or 1), tzinfo=_zone(zone))
        if hour == "24" and not (minutes or seconds or microseconds):
            return midnight + timedelta(days=1)
        return midnight.replace(hour=int(hour or 0), minute=minutes, second=seconds, microsecond=microseconds)
    except (ValueError, OverflowError):
        raise ValueError("a time that exists, such as 2026-08-20T12:00:00+00:00") from None


def _zone(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text in "Zz":
        return timezone.utc
    digits = text[1:].replace(":", "")
    away = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    return timezone(-away if text[0] == "-" else away)


def _typed(value: object) -> object:
    """Return a value that kombu's JSON marks with its type as that type, where it is one."""
    if isinstance(value, dict):
        try:
            return serializers.special(value)
        except (ValueError, TypeError, LookupError, ArithmeticError, AttributeError):
            return value
    return value


def finite(value: object) -> float:
    """Return a number, 0 for an empty value.

    Raises: ``ValueError`` saying what was expected, as all of these do.
    """
    if isinstance(value, (bool, int, float)):
        number = float(value)
    elif isinstance(value, str):
        number = float(value.strip() or 0)  # its error is replaced by the caller's
    elif not value:
        number = 0.0
    else:
        raise ValueError("a number")
    if not isfinite(number):
        raise ValueError("a finite number")
    return number


def count(value: object) -> int:
    """Return how often something may be, or has been."""
    try:
        number = finite(value)
    except (ValueError, OverflowError):
        number = -1.0
    if number != int(number) or not 0 <= number <= MOST_RETRIES:
        raise ValueError(f"a whole number from 0 to {MOST_RETRIES}")
    return int(number)


def place(value: object) -> int | None:
    """Return a place in a group; None for none."""
    if value is None or value == "":
        return None
    try:
        number = finite(value)
    except (ValueError, OverflowError):
        number = 0.5
    if number != int(number) or abs(number) > MOST_RETRIES:
        raise ValueError("a whole number")
    return int(number)


def _optional_count(value: object) -> int | None:
    return None if value is None or value == "" else count(value)


def span(value: object) -> float | None:
    """Return seconds; None for none."""
    if value is None or value == "":
        return None
    try:
        number = finite(value)
    except (ValueError, OverflowError):
        number = -1.0
    if not 0 <= number <= LONGEST_S:
        raise ValueError(f"seconds from 0 to {LONGEST_S:g}")
    return number


def _limits(value: object) -> tuple[float | None, float | None] | None:
    if not value:
        return None
    if not isinstance(value, (list, tuple)) or len(value) > 2:
        raise ValueError("a list of the hard and the soft limit in seconds")
    hard, soft = [*value, None][:2]
    return span(hard), span(soft)


def flag(value: object) -> bool | None:
    """Return what is on or off; None where nothing is said."""
    if value is None:
        return None
    return value.strip().lower() not in _FALSE if isinstance(value, str) else bool(value)


def text(value: object) -> str:
    """Return what names something; numbers and UUIDs are taken for their text."""
    if isinstance(value, (int, float, UUID)) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value:
        raise ValueError("text")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("text that UTF-8 can hold, and no lone surrogate") from None
    return value


def _name(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("the name of a task")
    return text(value)


def optional_text(value: object) -> str | None:
    """Return what names something, if anything does."""
    return text(value) if value or value == 0 else None


def _lineage(value: object) -> str | None:
    """Return the id of a task before this one; nobody runs it another way for what stands there."""
    try:
        return optional_text(value)
    except ValueError:
        return None


def _shown(value: object) -> str | None:
    """Return what people see; a list of arguments is as good as its text."""
    return value if value is None or isinstance(value, str) else bounded_repr(value)


def _names(value: object) -> list[str] | None:
    if isinstance(value, str):
        return [value]
    return [name for name in value if isinstance(name, str)] if isinstance(value, (list, tuple)) else None


def _stamps(value: object) -> dict[str, object] | None:
    return value if isinstance(value, dict) else None


def _nesting(value: object) -> int:
    try:
        return count(value)
    except ValueError:
        return 0


_READERS: Mapping[str, Callable[[object], object]] = {
    "task": _name,
    "id": text,
    "shadow": _shown,
    "eta": moment,
    "expires": moment,
    "group": optional_text,
    "group_index": place,
    "retries": count,
    "timelimit": _limits,
    "root_id": _lineage,
    "parent_id": _lineage,
    "argsrepr": _shown,
    "kwargsrepr": _shown,
    "origin": _shown,
    "ignore_result": flag,
    "stamped_headers": _names,
    "stamps": _stamps,
    "compression": optional_text,
    "replaced_task_nesting": _nesting,
    "taskd_max_retries": _optional_count,
    "taskd_retry_delay": span,
}


def moment_or_span(value: object) -> object:
    """Return a time, or seconds from now."""
    return value if isinstance(value, (int, float)) else moment(value)
