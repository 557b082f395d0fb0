"""Read a cron expression: five fields, or a nickname such as ``@daily``.  Pure, and without time zones.

The language is Debian cron's with the usual extras: lists, ranges, steps, names.  ``L`` is the last day of
the month, ``LW`` its last working day, ``5L`` its last Friday and ``2#3`` its third Tuesday.  As in cron, day
and weekday are alternatives when both are given, and must agree when one begins with a star.  An expression
that can never match is refused, so that every accepted one fires.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

from taskd.base.nearest import nearest
from taskd.base.plural import counted

CRON_FORM = 'five fields "minute hour day month weekday", such as "0 3 * * 1-5", or @daily'

NICKNAMES: Mapping[str, str] = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
WEEKDAY_NAMES = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
#: Days of each month by its number, February in a leap year.
LONGEST = (0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
#: In ``CronFields.nth_weekdays``: the last of the month.
LAST = -1


class CronError(ValueError):
    """A text that is not a cron expression; ``column`` counts from 1 within the text."""

    def __init__(self, column: int, wrong: str, expected: str) -> None:
        super().__init__(f"column {column}: {wrong}; expected {expected}")
        self.column = column
        self.wrong = wrong
        self.expected = expected


@dataclass(frozen=True, slots=True)
class CronFields:
    """The values that an expression matches; tuples are sorted, and Sunday is weekday 0."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    #: (weekday, which one of the month), with ``LAST`` for the last.
    nth_weekdays: frozenset[tuple[int, int]] = frozenset()
    last_day: bool = False
    last_working_day: bool = False
    #: Whether day and weekday must both match; else one of them is enough.
    days_agree: bool = True
    #: Whether minute or hour begins with a star: cron lets such a job follow elapsed time at DST changes.
    starred: bool = False

    @property
    def every_day(self) -> bool:
        """Whether day, month and weekday leave no day out."""
        all_days = len(self.days) == 31
        all_weekdays = len(self.weekdays) == 7
        some = all_days and all_weekdays if self.days_agree else all_days or all_weekdays
        return some and len(self.months) == 12

    def days_of(self, month: int, first_weekday: int, length: int) -> tuple[int, ...]:
        """Return the days that match in a month of ``length`` days that begins on ``first_weekday``."""
        if month not in self.months:
            return ()
        return tuple(day for day in range(1, length + 1) if self._matches(day, first_weekday, length))

    def _matches(self, day: int, first_weekday: int, length: int) -> bool:
        weekday = (first_weekday + day - 1) % 7
        by_weekday = (
            weekday in self.weekdays
            or (weekday, (day + 6) // 7) in self.nth_weekdays
            or (day + 7 > length and (weekday, LAST) in self.nth_weekdays)
        )
        by_day = (
            day in self.days
            or (self.last_day and day == length)
            or (self.last_working_day and day == _last_working_day(first_weekday, length))
        )
        return by_day and by_weekday if self.days_agree else by_day or by_weekday


@dataclass(frozen=True, slots=True)
class _Field:
    """One of the five fields: its name, the range of its numbers, and their names."""

    name: str
    low: int
    high: int
    names: Sequence[str] = ()

    @property
    def range(self) -> str:
        named = f" or {self.names[0]} to {self.names[-1]}" if self.names else ""
        return f"{self.low} to {self.high}{named}"


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day", 1, 31),
    _Field("month", 1, 12, MONTH_NAMES),
    _Field("weekday", 0, 7, WEEKDAY_NAMES),  # 7 is Sunday too
)
_DAY = _FIELDS[2]
_WEEKDAY = _FIELDS[4]
_ITEM = re.compile(r"(?P<low>\*|\w+)(?:-(?P<high>\w+))?(?:/(?P<step>\w+))?", re.ASCII)
_NTH = re.compile(r"(?P<day>\w+?)(?:#(?P<nth>\w+)|(?P<last>L))", re.ASCII)


@lru_cache(maxsize=4096)
def parse(text: str, days: str = "auto") -> CronFields:
    """Return what an expression matches.  Raises: ``CronError``.

    ``days`` says whether day and weekday must "both" match, or "either"; "auto" is cron's rule.
    """
    words = [(match.start() + 1, match.group().upper()) for match in re.finditer(r"\S+", text)]
    if words and words[0][1].startswith("@"):
        return _nickname(text.strip(), words[0][0], days)
    if len(words) != len(_FIELDS):
        column = words[len(_FIELDS)][0] if len(words) > len(_FIELDS) else len(text) + 1
        raise CronError(column, counted(len(words), "field is given", "fields are given"), CRON_FORM)
    minutes, hours, month_days, months, weekdays = (
        _Reader(field, column, word) for field, (column, word) in zip(_FIELDS, words, strict=True)
    )
    starts = [word.startswith("*") for _column, word in words]
    fields = CronFields(
        minutes=tuple(sorted(minutes.values)),
        hours=tuple(sorted(hours.values)),
        days=frozenset(month_days.values),
        months=frozenset(months.values),
        weekdays=frozenset(value % 7 for value in weekdays.values),
        nth_weekdays=frozenset(weekdays.nth),
        last_day=month_days.last_day,
        last_working_day=month_days.last_working_day,
        days_agree=days == "both" or (days == "auto" and (starts[2] or starts[4])),
        starred=starts[0] or starts[1],
    )
    _refuse_impossible(fields, month_days.column, words[2][1])
    return fields


def _nickname(word: str, column: int, days: str) -> CronFields:
    expression = NICKNAMES.get(word.lower())
    if expression is None:
        hint = nearest(word, NICKNAMES)
        expected = ", ".join(NICKNAMES) + (f'; did you mean "{hint}"?' if hint else "")
        raise CronError(column, f'the nickname "{word}" is unknown', expected)
    return parse(expression, days)


class _Reader:
    """Reads one field; ``column`` is where it begins."""

    def __init__(self, field: _Field, column: int, word: str) -> None:
        self.column = column
        self.values: set[int] = set()
        self.nth: set[tuple[int, int]] = set()
        self.last_day = False
        self.last_working_day = False
        self._field = field
        for item in word.split(","):
            self._read(item, column)
            column += len(item) + 1

    def _read(self, item: str, column: int) -> None:
        field = self._field
        if field is _DAY and item in {"L", "LW"}:
            self.last_day |= item == "L"
            self.last_working_day |= item == "LW"
        elif field is _WEEKDAY and (special := _NTH.fullmatch(item)) is not None:
            self._read_nth(special, column)
        elif (match := _ITEM.fullmatch(item)) is not None:
            self._read_range(match, column)
        else:
            what = f"an {field.name}" if field.name[0] in "aeh" else f"a {field.name}"  # "an hour" alone
            wrong = f'"{item}" is not {what}' if item else f"{what} is missing"
            raise CronError(column, wrong, f"{field.range}, a range 1-5, a step */2, or a list of them")

    def _read_range(self, match: re.Match[str], column: int) -> None:
        field = self._field
        if match["low"] == "*":
            low = field.low
            high = field.high
            if match["high"] is not None:
                raise CronError(column, f'"{match.group()}" is not a range', field.range)
        else:
            low = self._number(match["low"], column)
            open_ended = match["step"] is not None and match["high"] is None  # "5/15" means 5-59/15
            high = field.high if open_ended else low
            if match["high"] is not None:
                high = self._number(match["high"], column + match.start("high"))
            if high < low:
                around = f"{match['low']}-{field.high},{field.low}-{match['high']}"
                raise CronError(column, f'the range "{match.group()}" runs backwards', f'"{around}"')
        step = 1
        if match["step"] is not None:
            most = field.high - field.low + 1
            step = int(match["step"]) if match["step"].isdecimal() else 0
            if not 1 <= step <= most:
                wrong = f"the step {match['step']} is out of range"
                raise CronError(column + match.start("step"), wrong, f"1 to {most}")
        self.values.update(range(low, high + 1, step))

    def _read_nth(self, match: re.Match[str], column: int) -> None:
        weekday = self._number(match["day"], column) % 7
        if match["last"]:
            self.nth.add((weekday, LAST))
            return
        if match["nth"] not in {"1", "2", "3", "4", "5"}:
            wrong = f"a month has no {self._field.name} number {match['nth']}"
            raise CronError(column + match.start("nth"), wrong, "# and 1 to 5, or L for the last")
        self.nth.add((weekday, int(match["nth"])))

    def _number(self, word: str, column: int) -> int:
        field = self._field
        if word in field.names:
            return field.names.index(word) + (field.low if field is not _WEEKDAY else 0)
        if not word.isdecimal():
            hint = nearest(word, field.names)
            expected = field.range + (f'; did you mean "{hint}"?' if hint else "")
            raise CronError(column, f'{field.name} "{word}" is unknown', expected)
        if len(word) > 4 or not field.low <= int(word) <= field.high:
            raise CronError(column, f"{field.name} {word} is out of range", field.range)
        return int(word)


def _refuse_impossible(fields: CronFields, column: int, days: str) -> None:
    """Refuse dates that no month has, and days and weekdays that never meet.

    Every month begins on each weekday in some year, a February of 29 days too.  So looking at the lengths and
    first weekdays is looking at every year there is.
    """
    longest = max(LONGEST[month] for month in fields.months)
    if fields.days and min(fields.days) > longest and not (fields.last_day or fields.last_working_day):
        months = ", ".join(MONTH_NAMES[month - 1] for month in sorted(fields.months))
        raise CronError(column, f"no month of {months} has a day {days}", f"a day up to {longest}")
    lengths = {(month, length) for month in fields.months for length in _lengths(month)}
    if not any(fields.days_of(month, first, length) for month, length in lengths for first in range(7)):
        raise CronError(column, "day and weekday never fall together", "a day that can be that weekday")


def _lengths(month: int) -> Sequence[int]:
    return (28, 29) if month == 2 else (LONGEST[month],)


def _last_working_day(first_weekday: int, length: int) -> int:
    weekday = (first_weekday + length - 1) % 7
    return length - {0: 2, 6: 1}.get(weekday, 0)
