"""When a periodic task fires: an interval, or a cron expression in an IANA time zone.

Pure: the time comes in as an argument, in wall-clock epoch seconds.  Both kinds answer from the time
alone, without a memory of the last run, so that a restart of beat moves no occurrence:

- An interval stands on a grid that starts at the epoch: ``every = "5m"`` fires at :00, :05, :10 and
  never drifts, and ``every = "1d"`` fires at midnight UTC.  An interval counted from the start of
  beat would never fire when beat is restarted more often than that.
- Cron follows Debian's cron, as cronsim does: a job with a fixed hour and minute that falls into the
  hour skipped in spring runs right after the gap, and runs once in the hour repeated in autumn; a job
  with a star in either field follows elapsed time.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from taskd.config.schedule import BeatEntryConfig
from taskd.errors import ConfigError

_FIELDS = '"minute hour day-of-month month day-of-week"'


class Schedule(Protocol):
    """Says when a periodic task fires."""

    def next_after(self, at: float) -> float:
        """Return the first occurrence strictly later than ``at``; ``inf`` when there is none."""


@dataclass(frozen=True, slots=True)
class Interval:
    """Every ``every_s`` seconds, on the grid of multiples since the epoch."""

    every_s: float

    def next_after(self, at: float) -> float:
        """Return the first multiple of the interval strictly later than ``at``."""
        # Division rounds either way, so the quotient may name a neighbour; multiples are never summed.
        count = math.floor(at / self.every_s) - 1
        while count * self.every_s <= at:
            count += 1
        return count * self.every_s


@dataclass(frozen=True, slots=True)
class Cron:
    """Five cron fields, read in ``zone``.  Make one with ``cron``."""

    expression: str
    zone: tzinfo

    def next_after(self, at: float) -> float:
        """Return the next match strictly later than ``at``; ``inf`` when none comes within 50 years."""
        start = datetime.fromtimestamp(math.floor(at), self.zone)
        for moment in CronSim(self.expression, start):
            # Compared as epoch seconds: in the hour repeated in autumn cronsim answers a job of fixed
            # time with the first pass, which a start in the second pass has behind it.
            if (found := moment.timestamp()) > at:
                return found
        return math.inf


def cron(expression: str, zone_name: str = "UTC") -> Cron:
    """Return the schedule of five cron fields in an IANA zone.

    Raises: ``ConfigError`` when either is not one.
    """
    try:
        # cronsim takes a short cut for this object only; ZoneInfo("UTC") would be ten times slower.
        zone: tzinfo = timezone.utc if zone_name == "UTC" else ZoneInfo(zone_name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(
            f'time zone "{zone_name}" is unknown; expected an IANA name such as "Europe/Berlin" '
            f"(the system's tzdata package has them)"
        ) from error
    if len(expression.split()) != 5:
        raise ConfigError(f'cron "{expression}": expected five fields, {_FIELDS}')
    try:
        CronSim(expression, datetime.fromtimestamp(0, zone))
    except CronSimError as error:
        raise ConfigError(
            f'cron "{expression}": {error}; expected "minute hour day month weekday"'
        ) from error
    return Cron(expression, zone)


def schedule_of(entry: BeatEntryConfig) -> Schedule:
    """Return the schedule of one ``[beat.schedule.NAME]`` table.

    Raises: ``ConfigError`` when it gives neither or both of ``every`` and ``cron``, or a wrong one.
    """
    if (entry.every is None) == (not entry.cron):
        raise ConfigError(f'beat.schedule.{entry.name}: expected either "every" or "cron"')
    if entry.every is not None:
        return Interval(entry.every)
    return cron(entry.cron, entry.timezone)
