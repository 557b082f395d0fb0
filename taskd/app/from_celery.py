"""Celery's schedule objects as ours, so that an app's code may go on using them.

They are known by their attributes; Celery itself is not imported.  The differences:

- ``crontab``: the same local times in the zone of its app.  Its fields must all match, day and weekday too.
  In the hour repeated in autumn it fires once, as in Celery.  A time in the hour skipped in spring fires
  when the gap ends; Celery fires it later by the length of the gap, and leaves out all but the first.
- ``schedule`` and ``timedelta``: the same interval, but on the grid of the epoch, where Celery counts from
  the last run.  ``relative`` ones of one day fire at midnight of the zone.
- ``solar``: the same event; the times differ by seconds, as the equations do.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import timedelta, tzinfo
from typing import Protocol, cast, runtime_checkable

from taskd.base.errors import ConfigError
from taskd.config.declared import declared_when
from taskd.config.schedule import WhenConfig

_DAY_S = 86_400.0


@runtime_checkable
class _Crontab(Protocol):
    """celery.schedules.crontab; the fields are sets of numbers, Sunday is 0."""

    minute: Collection[int]
    hour: Collection[int]
    day_of_month: Collection[int]
    month_of_year: Collection[int]
    day_of_week: Collection[int]


@runtime_checkable
class _Interval(Protocol):
    """celery.schedules.schedule."""

    run_every: timedelta
    relative: bool


@runtime_checkable
class _Solar(Protocol):
    """celery.schedules.solar; degrees north and east."""

    event: str
    lat: float
    lon: float


def when_of(schedule: object, zone: str = "") -> WhenConfig:
    """Return our description of a schedule: ours as it is, or one of Celery's.

    ``zone`` takes the place of the zone of Celery's app.  Raises: ``ConfigError`` for anything else, and
    for what ours cannot express: a clock of its own (``nowfun``), or a zone without a name.
    """
    if isinstance(schedule, WhenConfig):
        return schedule
    if getattr(schedule, "nowfun", None) is not None:
        raise ConfigError(f"{schedule!r} has a clock of its own (nowfun); expected a schedule without one")
    return declared_when(_keys_of(schedule, zone))


def _keys_of(schedule: object, zone: str) -> Mapping[str, object]:
    match schedule:
        case timedelta():
            return {"every": schedule.total_seconds()}
        case int() | float() if not isinstance(schedule, bool):
            return {"every": schedule}
        case _Crontab():
            return _crontab_keys(schedule, zone or _zone_of(schedule))
        case _Solar():
            return {
                "solar": schedule.event,
                "latitude": float(schedule.lat),
                "longitude": float(schedule.lon),
            }
        case _Interval():
            every_s = schedule.run_every.total_seconds()
            if schedule.relative and every_s == _DAY_S:
                return {"cron": "@daily", "timezone": zone or _zone_of(schedule)}
            return {"every": every_s}
        case _:
            raise ConfigError(
                f"{schedule!r} is not a schedule; expected every(...), cron(...), at(...), solar(...), a "
                f"timedelta, or Celery's crontab, schedule or solar"
            )


def _crontab_keys(schedule: _Crontab, zone: str) -> Mapping[str, object]:
    fields = (
        _field(schedule.minute, 60),
        _field(schedule.hour, 24),
        _field(schedule.day_of_month, 31),
        _field(schedule.month_of_year, 12),
        _field(schedule.day_of_week, 7),
    )
    return {
        "cron": " ".join(fields),
        "cron_days": "both",
        "timezone": zone,
        "dst_gap": "next",
        "dst_overlap": "first",
    }


def _field(numbers: Collection[int], count: int) -> str:
    return "*" if len(set(numbers)) == count else ",".join(str(number) for number in sorted(set(numbers)))


def _zone_of(schedule: object) -> str:
    # A property of Celery's: the zone of the schedule's app, else of the current one.
    zone = cast("tzinfo | None", getattr(schedule, "tz", None))
    name = "UTC" if zone is None else str(getattr(zone, "key", zone))
    if name != "UTC" and not hasattr(zone, "key"):
        raise ConfigError(
            f"{schedule!r}: the zone {name} has no IANA name; expected one, such as zone='Europe/Berlin'"
        )
    return name
