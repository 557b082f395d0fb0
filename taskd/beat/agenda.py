"""What is due now, and when the next thing is: a heap over the schedules.  Pure: no clock, no sending.

The rule for missed runs is ``last``: when several occurrences of one entry lie behind (the machine was
suspended, the clock jumped ahead), only the latest of them runs.  What came due while beat was not
running is not known to it and does not run: nothing is remembered across a restart.

A clock that goes back a little (an NTP step) repeats nothing: the occurrences that fired stay fired.
When it goes back by more than ``STEP_BACK_S`` the agenda is planned anew, because an entry would
otherwise be silent until the old, wrong time comes round again.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping
from dataclasses import dataclass

from taskd.beat.schedules.schedule import Schedule

#: Seconds.  Less than the shortest cron period, so that a small step back cannot repeat a cron run.
STEP_BACK_S = 60.0


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One entry is to run; ``fire_at`` is when the schedule says, not when beat came to it."""

    name: str
    fire_at: float


class Agenda:
    """The next occurrence of each entry; all times are wall-clock seconds."""

    def __init__(self, schedules: Mapping[str, Schedule], now: float) -> None:
        self._schedules = schedules
        self._heap: list[tuple[float, str]] = []
        self._seen_at = now
        self._plan(now)

    def due(self, now: float) -> list[Occurrence]:
        """Return what has come due, oldest first and at most one occurrence of an entry; moves on past it."""
        if now < self._seen_at - STEP_BACK_S:
            self._plan(now)
        self._seen_at = now
        found: list[Occurrence] = []
        while self._heap and self._heap[0][0] <= now:
            first, name = self._heap[0]
            last, following = _last_and_following(self._schedules[name], first, now)
            heapq.heapreplace(self._heap, (following, name))
            found.append(Occurrence(name, last))
        found.sort(key=lambda occurrence: occurrence.fire_at)
        return found

    def next_at(self) -> float:
        """Return when something will be due; ``inf`` when nothing ever is."""
        return self._heap[0][0] if self._heap else math.inf

    def _plan(self, now: float) -> None:
        self._heap = [(schedule.next_after(now), name) for name, schedule in self._schedules.items()]
        heapq.heapify(self._heap)


def _last_and_following(schedule: Schedule, first: float, now: float) -> tuple[float, float]:
    """Return the last occurrence up to ``now`` and the one after it; ``first`` is known to be up to ``now``.

    Looks back in doubling steps instead of walking from ``first``: a board without a clock battery
    jumps from 1970 to today, which is tens of millions of runs of a minutely job.
    """
    span_s = 1.0
    while now - span_s > first and schedule.next_after(now - span_s) > now:
        span_s *= 2
    last = first if now - span_s <= first else schedule.next_after(now - span_s)
    while (following := schedule.next_after(last)) <= now:
        last = following
    return last, following
