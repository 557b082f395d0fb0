"""Cron expressions in a time zone.

The zone's wall clock is matched, minute by minute; ``Gap`` and ``Overlap`` are the rules for
the minutes that the wall clock leaves out or shows twice.  ``cron`` gives both the values of Debian's cron
unless told otherwise.  A job of fixed time (no star in minute and hour) runs right after the gap in which it
falls and once in an overlap.  Any other follows elapsed time, so that it loses the minutes of the gap and
runs in both passes.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from calendar import monthrange
from dataclasses import dataclass
from datetime import MAXYEAR, datetime, timedelta, timezone, tzinfo
from functools import lru_cache

from taskd.base.errors import ConfigError
from taskd.beat.schedules.zones import Gap, Overlap, first_pass, overlap_around, wall_clock, zone_named
from taskd.config.crontab import CronError, CronFields, parse

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Cron:
    """Cron fields, read on the wall clock of ``zone``."""

    fields: CronFields
    zone: tzinfo
    gap: Gap
    overlap: Overlap

    def next_after(self, at: float) -> float:
        """Return the next match strictly later than ``at``; ``inf`` when none comes before the year 10000."""
        zone = self.zone
        if zone is timezone.utc:
            local = next_match(self.fields, datetime.fromtimestamp(math.floor(at), zone).replace(tzinfo=None))
            return math.inf if local is None else local.replace(tzinfo=zone).timestamp()
        found = self._in_first_pass(at)
        return min(found, self._in_second_pass(at)) if self.overlap is Overlap.BOTH else found

    def _in_first_pass(self, at: float) -> float:
        # Instants of the first pass are in the order of their local times.  So the search may begin at the
        # local time of ``at``, even if that is in a second pass and all of the first lies behind.
        local: datetime | None = wall_clock(math.floor(at), self.zone)
        while local is not None and (local := next_match(self.fields, local)) is not None:
            found = first_pass(local, self.zone, self.gap)
            if found is not None and found > at:
                return found
        return math.inf

    def _in_second_pass(self, at: float) -> float:
        """Return the next match in the second pass of an overlap that is near."""
        # A second pass that is not near has its first pass ahead of ``at``, which is found before it.
        change = overlap_around(at, self.zone)
        if change is None:
            return math.inf
        begin_at = max(math.floor(at), change.change_at - 60.0)  # a match at the change itself counts
        local = next_match(self.fields, _shown(begin_at, change.offset_after_s))
        if local is None or local >= _shown(change.change_at, change.offset_before_s):
            return math.inf
        return (local - timedelta(seconds=change.offset_after_s)).replace(tzinfo=timezone.utc).timestamp()


def cron(
    expression: str,
    zone_name: str = "UTC",
    *,
    days: str = "auto",
    gap: Gap | None = None,
    overlap: Overlap | None = None,
) -> Cron:
    """Return the schedule of a cron expression in an IANA zone; without rules, cron's own.

    Raises: ``ConfigError`` when the expression or the zone cannot be read.
    """
    zone = zone_named(zone_name)
    try:
        fields = parse(expression, days)
    except CronError as error:
        raise ConfigError(f'cron "{expression}", {error}') from error
    if gap is None:
        gap = Gap.SKIP if fields.starred else Gap.NEXT
    if overlap is None:
        overlap = Overlap.BOTH if fields.starred else Overlap.FIRST
    return Cron(fields, zone, gap, overlap)


def next_match(fields: CronFields, after: datetime) -> datetime | None:
    """Return the first matching minute later than the minute of ``after``, both without zone."""
    day = after.replace(hour=0, minute=0, second=0, microsecond=0)
    if day.day in _days(fields, day) and (found := _later_today(fields, after)) is not None:
        return found
    next_day = _next_day(fields, day)
    return next_day and next_day.replace(hour=fields.hours[0], minute=fields.minutes[0])


def _later_today(fields: CronFields, after: datetime) -> datetime | None:
    hour = after.hour
    minute = after.minute
    if hour in fields.hours:
        later = bisect_right(fields.minutes, minute)
        if later < len(fields.minutes):
            return after.replace(minute=fields.minutes[later], second=0, microsecond=0)
    later = bisect_right(fields.hours, hour)
    if later == len(fields.hours):
        return None
    return after.replace(hour=fields.hours[later], minute=fields.minutes[0], second=0, microsecond=0)


def _next_day(fields: CronFields, day: datetime) -> datetime | None:
    """Return the first matching day later than ``day``."""
    if fields.every_day:
        return None if day.year == MAXYEAR else day + _DAY
    days = [each for each in _days(fields, day) if each > day.day]
    while not days:
        if day.year == MAXYEAR and day.month == 12:
            return None
        day = (day.replace(day=28) + 4 * _DAY).replace(day=1)
        days = list(_days(fields, day))
    return day.replace(day=days[0])


def _days(fields: CronFields, day: datetime) -> tuple[int, ...] | range:
    """Return the matching days of the month in which ``day`` lies."""
    if fields.every_day:
        return range(1, 32)
    if day.month not in fields.months:
        return ()
    first_weekday, length = monthrange(day.year, day.month)
    return _days_of(fields, day.month, (first_weekday + 1) % 7, length)  # cron begins its week on Sunday


@lru_cache(maxsize=4096)
def _days_of(fields: CronFields, month: int, first_weekday: int, length: int) -> tuple[int, ...]:
    return fields.days_of(month, first_weekday, length)


def _shown(at: float, offset_s: float) -> datetime:
    return datetime.fromtimestamp(at + offset_s, timezone.utc).replace(tzinfo=None)
