"""Make the schedule that a table of the configuration, or a declaration in an app, describes."""

from __future__ import annotations

import math
from datetime import tzinfo

from taskd.base.errors import ConfigError
from taskd.beat.schedules.crontab import Cron, cron
from taskd.beat.schedules.interval import Interval
from taskd.beat.schedules.limits import Bounded, Jittered, last_of
from taskd.beat.schedules.once import Once
from taskd.beat.schedules.schedule import Schedule
from taskd.beat.schedules.solar import SolarEvent, solar
from taskd.beat.schedules.zones import Gap, Overlap, first_pass, zone_named
from taskd.config.schedule import WhenConfig
from taskd.config.when import moment, problems_of

_GAPS = {"auto": None, "next": Gap.NEXT, "skip": Gap.SKIP}
_OVERLAPS = {"auto": None, "first": Overlap.FIRST, "both": Overlap.BOTH}


def schedule_of(when: WhenConfig, name: str = "", *, is_checked: bool = False) -> Schedule:
    """Return the schedule; ``name`` is the entry's, which its jitter follows from.

    ``is_checked``: it was judged when it was read, and is not judged again.

    Raises: ``ConfigError`` for what ``taskd --check`` would refuse, an unknown zone, or a missing extra.
    """
    if not is_checked:
        _refuse_problems(when, name)
    zone = zone_named(when.timezone)
    schedule = _plain(when, zone)
    start_at = moment_at(when.start, zone) if when.start else None
    if when.max_runs and start_at is not None:
        schedule = Bounded(schedule, start_at, last_of(schedule, start_at, when.max_runs))
    if when.start or when.end:
        end_at = moment_at(when.end, zone) if when.end else math.inf
        schedule = Bounded(schedule, -math.inf if start_at is None else start_at, end_at)
    return Jittered(schedule, when.jitter, name) if when.jitter else schedule


def cron_of(when: WhenConfig) -> Cron:
    """Return the cron schedule of a description that has one, without its limits."""
    gap = _GAPS[when.dst_gap]
    overlap = _OVERLAPS[when.dst_overlap]
    return cron(when.cron, when.timezone, days=when.cron_days, gap=gap, overlap=overlap)


def _refuse_problems(when: WhenConfig, name: str) -> None:
    place = f"beat.schedule.{name}" if name else "the schedule"
    for problem in problems_of(when):
        raise ConfigError(f"{place}: {problem.wrong}; expected {problem.expected}")


def moment_at(text: str, zone: tzinfo, gap: Gap = Gap.NEXT) -> float:
    """Return the instant that a moment of the configuration means; a local one is read in ``zone``.

    A local time that comes twice is its first; one in a gap is ``inf`` with ``Gap.SKIP``.
    """
    local = moment(text)
    if local.tzinfo is not None:
        return local.timestamp()
    found = first_pass(local, zone, gap)
    return math.inf if found is None else found


def _plain(when: WhenConfig, zone: tzinfo) -> Schedule:
    if when.every is not None:
        return Interval(when.every, moment_at(when.align, zone) if when.align else 0.0)
    if when.cron:
        return cron_of(when)
    if when.at:
        return Once(moment_at(when.at, zone, _GAPS[when.dst_gap] or Gap.NEXT))
    assert when.latitude is not None
    assert when.longitude is not None
    return solar(SolarEvent(when.solar), when.latitude, when.longitude)
