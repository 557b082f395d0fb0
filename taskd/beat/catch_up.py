"""Chooses the past occurrences that run, by the entry's rule for missed runs.  Pure.

Every cause that makes beat late meets here: a stop, a crash, a suspended machine, a clock
that was set ahead, a broker that was away.  An occurrence is *missed* when a later one of its entry has come
due too, or when it is more than ``missed_after_s`` late.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum

from taskd.beat.schedules.schedule import Schedule

#: Occurrences that are looked at one by one.  A board without a clock battery jumps from 1970 to today,
#: which is tens of millions of runs of a minutely job: then the latest are found by looking back.
WALK = 2000


class Missed(Enum):
    """The rule of an entry for missed runs."""

    SKIP = "skip"
    LAST = "last"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Rule:
    """The rule of one entry; ``max_missed`` bounds how many run under ``ALL``."""

    missed: Missed
    max_missed: int
    missed_after_s: float


@dataclass(frozen=True, slots=True)
class Skipped:
    """A stretch of occurrences that do not run; ``count`` is the least number where not ``exact``."""

    first_at: float
    last_at: float
    count: int
    exact: bool


@dataclass(frozen=True, slots=True)
class CatchUp:
    """The occurrences of an entry up to now: runs to send, and runs to skip."""

    #: To run, oldest first.
    fire: tuple[float, ...]
    skipped: Skipped | None
    #: The first occurrence after now; ``inf`` when there is none.
    following: float


def plan(schedule: Schedule, first_at: float, now: float, rule: Rule) -> CatchUp:
    """Decide on the occurrences from ``first_at``, which is one and lies behind, up to ``now``."""
    keep = rule.max_missed if rule.missed is Missed.ALL else 1
    latest, count, exact, following = _latest(schedule, first_at, now, keep)
    if rule.missed is Missed.SKIP:
        latest = [at for at in latest if now - at <= rule.missed_after_s]
    skipped = None
    if len(latest) < count:
        last_at = _before(schedule, first_at, latest, now)
        skipped = Skipped(first_at, last_at, count - len(latest), exact)
    return CatchUp(tuple(latest), skipped, following)


def _latest(
    schedule: Schedule, first_at: float, now: float, keep: int
) -> tuple[list[float], int, bool, float]:
    """Return the last ``keep`` up to ``now``, how many there are, if exactly, and the next one."""
    latest, count, following = _walk(schedule, first_at, now, keep, WALK + keep)
    if following > now:
        return list(latest), count, True, following
    span_s = 1.0
    while True:
        start_at = max(now - span_s, following)
        found_at = schedule.next_after(start_at)
        latest, found, after = _walk(schedule, found_at, now, keep, None)
        if found >= keep or start_at <= following:
            return list(latest), count + found, False, after
        span_s *= 2


def _walk(
    schedule: Schedule, at: float, now: float, keep: int, limit: int | None
) -> tuple[deque[float], int, float]:
    latest: deque[float] = deque(maxlen=keep)
    count = 0
    while at <= now and (limit is None or count < limit):
        latest.append(at)
        count += 1
        at = schedule.next_after(at)
    return latest, count, at


def _before(schedule: Schedule, first_at: float, latest: list[float], now: float) -> float:
    """Return the last occurrence that does not run; known only near ``first_at``, else a bound for it."""
    end_at = latest[0] if latest else now
    at = first_at
    for _ in range(WALK):
        following = schedule.next_after(at)
        if following >= end_at and (latest or following > end_at):
            return at
        at = following
    return end_at
