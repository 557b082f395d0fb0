"""A dry run of one schedule over a period, with what becomes of it at changes of the clock.  Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone, tzinfo

from taskd.beat.schedules.build import cron_of, schedule_of
from taskd.beat.schedules.crontab import Cron, next_match
from taskd.beat.schedules.zones import ClockChange, Gap, Overlap, changes_between, zone_named
from taskd.config.crontab import CronFields
from taskd.config.schedule import WhenConfig

#: Local times that a remark names one by one.
_NAMED = 5


@dataclass(frozen=True, slots=True)
class Remark:
    """The wall clock of the schedule's zone changes at ``at``."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """A rehearsal of a schedule; ``has_more`` when the period has more occurrences than were asked for."""

    occurrences: tuple[float, ...]
    remarks: tuple[Remark, ...]
    has_more: bool


def rehearse(when: WhenConfig, name: str, start: float, end: float, most: int) -> Rehearsal:
    """Return the first ``most`` occurrences in (start, end], and the clock's changes while they last.

    ``name`` is the entry's, from which its jitter follows.  Raises: ``ConfigError`` as ``schedule_of``.
    """
    schedule = schedule_of(when, name)
    found: list[float] = []
    at = schedule.next_after(start)
    while at <= end and len(found) < most:
        found.append(at)
        at = schedule.next_after(at)
    has_more = at <= end
    zone = zone_named(when.timezone)
    changes = changes_between(start, found[-1] if has_more else end, zone)
    local = cron_of(when) if when.cron else None
    return Rehearsal(tuple(found), tuple(_remark(change, local, zone) for change in changes), has_more)


def _remark(change: ClockChange, local: Cron | None, zone: tzinfo) -> Remark:
    before = _shown(change.change_at, change.offset_before_s)
    after = _shown(change.change_at, change.offset_after_s)
    day = "" if before.date() == after.date() else f"{after:%Y-%m-%d} "
    way = "ahead" if change.is_gap else "back"
    text = f"the clock of {zone} goes {way} from {before:%Y-%m-%d %H:%M} to {day}{after:%H:%M}"
    effect = "" if local is None else _effect(change, local, before, after)
    return Remark(change.change_at, f"{text}; {effect}" if effect else text)


def _effect(change: ClockChange, local: Cron, before: datetime, after: datetime) -> str:
    if change.is_gap:
        times = _matches(local.fields, before, after)
        if not times:
            return "no run falls into the time that is left out"
        if local.gap is Gap.NEXT:
            return f"runs due at {_named(times)} start at {after:%H:%M}"
        return f"runs due at {_named(times)} are left out"
    times = _matches(local.fields, after, before)
    if not times:
        return "no run falls into the time that comes twice"
    often = "twice" if local.overlap is Overlap.BOTH else "once, the first time"
    return f"runs due at {_named(times)} start {often}"


def _matches(fields: CronFields, start: datetime, end: datetime) -> list[datetime]:
    found: list[datetime] = []
    at = next_match(fields, start - timedelta(minutes=1))
    while at is not None and at < end and len(found) <= _NAMED:
        found.append(at)
        at = next_match(fields, at)
    return found


def _named(times: list[datetime]) -> str:
    named = [f"{time:%H:%M}" for time in times[:_NAMED]]
    return ", ".join(named) + (" and so on" if len(times) > _NAMED else "")


def _shown(at: float, offset_s: float) -> datetime:
    return datetime.fromtimestamp(at + offset_s, timezone.utc).replace(tzinfo=None)
