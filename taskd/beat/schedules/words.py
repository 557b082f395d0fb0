"""A schedule in words, for people who wrote one and want to know what they wrote.  Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from taskd.base.plural import counted
from taskd.config.crontab import LAST, CronFields, parse
from taskd.config.schedule import WhenConfig

_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_WEEKDAYS = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_ORDINALS = ("", "first", "second", "third", "fourth", "fifth")
#: Times of day are listed one by one up to this number.
_FEW = 6


def in_words(when: WhenConfig) -> str:
    """Return one sentence without a full stop; the description is sound (``config.when``)."""
    parts = [_kind(when)]
    if when.max_runs:
        parts.append("at most once" if when.max_runs == 1 else f"at most {when.max_runs} times")
    if when.start:
        parts.append(f"from {_moment(when.start)} on")
    if when.end:
        parts.append(f"until {_moment(when.end)}")
    if when.jitter:
        parts.append(f"later by up to {_length(when.jitter)}")
    return ", ".join(parts)


def cron_in_words(fields: CronFields) -> str:
    """Return what a cron expression matches, such as ``at 03:00 on Monday to Friday``."""
    days = _days(fields)
    if fields.every_day:
        return _times(fields) + (" every day" if _is_few(fields) else "")
    months = "" if len(fields.months) == 12 else f" in {_numbers(sorted(fields.months), _MONTHS, 1)}"
    return f"{_times(fields)}{days}{months}"


def _kind(when: WhenConfig) -> str:
    zone = f", {when.timezone} time"
    if when.every is not None:
        return f"every {_length(when.every).removeprefix('1 ')}, counted from " + (
            _moment(when.align) + zone if when.align else "midnight UTC of 1970-01-01"
        )
    if when.cron:
        return cron_in_words(parse(when.cron, when.cron_days)) + zone
    if when.at:
        return f"once, at {_moment(when.at)}{zone}"
    assert when.latitude is not None
    assert when.longitude is not None
    north = f"{abs(when.latitude):g}° {'north' if when.latitude >= 0 else 'south'}"
    east = f"{abs(when.longitude):g}° {'east' if when.longitude >= 0 else 'west'}"
    return f"at {_event(when.solar)} at {north}, {east}, on days that have it"


def _event(name: str) -> str:
    first, _, second = name.partition("_")
    return f"{second} {first}" if first in {"dawn", "dusk"} else name.replace("_", " ")


def _times(fields: CronFields) -> str:
    minutes = fields.minutes
    hours = fields.hours
    if _is_few(fields):
        return "at " + _listed([f"{hour:02d}:{minute:02d}" for hour in hours for minute in minutes])
    if len(minutes) == 60:
        each = "every minute"
    elif (step := _step(minutes, 60)) > 1:
        each = f"every {step} minutes"
    else:
        each = f"at {_numbers(minutes, (), 0, 'minute')} of every hour"
    if len(hours) == 24:
        return each
    return f"{each.removesuffix(' of every hour')}, during {_numbers(hours, (), 0, 'hour')}"


def _is_few(fields: CronFields) -> bool:
    return len(fields.minutes) * len(fields.hours) <= _FEW


def _days(fields: CronFields) -> str:
    by_day: list[str] = []
    if len(fields.days) not in {0, 31}:
        by_day.append(_numbers(sorted(fields.days), (), 0, "day") + " of the month")
    if fields.last_day:
        by_day.append("the last day of the month")
    if fields.last_working_day:
        by_day.append("the last working day (Monday to Friday) of the month")
    by_weekday: list[str] = []
    if len(fields.weekdays) not in {0, 7}:
        by_weekday.append(_numbers(_monday_first(fields.weekdays), (*_WEEKDAYS, "Sunday"), 0))
    for weekday, nth in sorted(fields.nth_weekdays):
        ordinal = "last" if nth == LAST else _ORDINALS[nth]
        by_weekday.append(f"the {ordinal} {_WEEKDAYS[weekday]} of the month")
    if by_day and by_weekday:
        either = _listed(by_day, "or")
        if fields.days_agree:
            return f" on {either}, if that is {_listed(by_weekday, 'or')}"
        return f" on {either}, and on {_listed(by_weekday)}"
    both = by_day or by_weekday
    return f" on {_listed(both)}" if both else " every day"


def _monday_first(weekdays: Iterable[int]) -> list[int]:
    return sorted((weekday or 7) for weekday in weekdays)


def _numbers(numbers: Sequence[int], names: Sequence[str], low: int, what: str = "") -> str:
    """Return numbers as a list, with runs of three and more as ``9 to 17``; by name if they have names."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][-1] + 1:
            runs[-1].append(number)
        else:
            runs.append([number])
    words: list[str] = []
    for run in runs:
        shown = [names[number - low] if names else str(number) for number in run]
        words += [f"{shown[0]} to {shown[-1]}"] if len(run) > 2 else shown
    plural = f"{what}s " if len(numbers) > 1 else f"{what} "
    return (plural if what else "") + _listed(words)


def _step(numbers: Sequence[int], count: int) -> int:
    """Return the step when the numbers are all multiples of a divisor of ``count``; else 0."""
    step = numbers[1] if len(numbers) > 1 and numbers[0] == 0 else 0
    return step if step and count % step == 0 and list(numbers) == list(range(0, count, step)) else 0


def _listed(words: Sequence[str], last: str = "and") -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def _moment(text: str) -> str:
    return text.replace("T", " ")


def _length(seconds: float) -> str:
    for unit, size in (("day", 86_400), ("hour", 3600), ("minute", 60)):
        if seconds >= size and seconds % size == 0:
            return counted(seconds / size, unit)
    return counted(float(seconds), "second")
