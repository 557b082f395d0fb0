"""How the value of an option is checked and read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from math import isfinite
from numbers import Integral, Real
from typing import Any

from taskd.base.rates import parse_rate
from taskd.protocol.compression import NAMES as COMPRESSIONS
from taskd.protocol.lenient import LONGEST_S, MOST_RETRIES

Exceptions = tuple[type[Exception], ...]


class Acks(str, Enum):
    """When a task's message is acknowledged."""

    LATE = "late"
    EARLY = "early"


def _as_it_is(value: Any) -> Any:
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionForm:
    """The values that an option takes.  ``most``: numbers from 0 to this."""

    #: Concrete types first: to ask an abstract class takes three times as long.
    kinds: tuple[type, ...]
    expected: str
    most: float | None = None
    #: Whether True is a mistake: it would be a second.
    is_time: bool = False
    #: Whether None is a value of its own, and not the same as leaving the option out.
    takes_none: bool = False
    #: Returns what is kept; raises ``ValueError`` or ``TypeError`` beginning with the value.
    read: Callable[[Any], Any] = _as_it_is

    def taken(self, what: str, value: Any) -> Any:
        """Return what is kept of a value.

        ``what`` begins the error, as in ``task "shop.add": priority``.
        Raises: ``TypeError``, ``ValueError``.
        """
        if value is None and self.takes_none:
            return None
        if not isinstance(value, self.kinds) or (self.is_time and isinstance(value, bool)):
            raise TypeError(f"{what} is {value!r}; expected {self.expected}")
        if not isinstance(value, (int, str)) and isinstance(value, Real) and not isfinite(value):
            raise ValueError(f"{what} is {value!r}; expected {self.expected}")
        number: Any = value
        if self.most is not None and not 0 <= number <= self.most:
            raise ValueError(f"{what} is {value}; expected 0 to {self.most:g}")
        try:
            return self.read(value)
        except (ValueError, TypeError) as error:
            raise type(error)(f"{what} {error}") from None


def _acks(value: object) -> Acks:
    if value not in ("late", "early"):
        raise ValueError(f'is {value!r}; expected "late" or "early"')
    return Acks(value)


def _exceptions(value: object) -> Exceptions:
    if not isinstance(value, (tuple, list)) or not all(
        isinstance(kind, type) and issubclass(kind, Exception) for kind in value
    ):
        raise TypeError(f"is {value!r}; expected a tuple of exception classes")
    return tuple(value)


def _compression(value: object) -> object:
    if value and value not in COMPRESSIONS:
        raise ValueError(f"is {value!r}; expected one of {', '.join(COMPRESSIONS)}")
    return value


TEXT = OptionForm(kinds=(str,), expected="text")
FLAG = OptionForm(kinds=(int,), expected="True or False")
PRIORITY = OptionForm(kinds=(int, Integral), expected="0 to 9", most=9)
#: Of a send, where True would be a second; tasks have always taken it.
SECONDS = OptionForm(kinds=(int, float, Real), expected="seconds", most=LONGEST_S, is_time=True)
COUNT = OptionForm(kinds=(int, Integral), expected="a whole number", most=MOST_RETRIES)
LIMIT = OptionForm(kinds=(Real,), expected="seconds; 0 for none", most=LONGEST_S)
COMPRESSION = OptionForm(kinds=(object,), expected="the name of a compression", read=_compression)
EXCEPTIONS = OptionForm(kinds=(object,), expected="a tuple of exception classes", read=_exceptions)
LINKS = OptionForm(kinds=(object,), expected="a call or a list of them")
ACKS = OptionForm(kinds=(object,), expected='"late" or "early"', read=_acks)
RATE = OptionForm(kinds=(object,), expected="a rate", read=parse_rate)
