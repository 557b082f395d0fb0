"""Start, end, number of runs and jitter, around any schedule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from hashlib import blake2b

from taskd.beat.schedules.interval import Interval
from taskd.beat.schedules.schedule import Schedule


@dataclass(frozen=True, slots=True)
class Bounded:
    """The occurrences of a schedule from ``start_at`` to ``end_at``, both included."""

    schedule: Schedule
    start_at: float = -math.inf
    end_at: float = math.inf

    def next_after(self, at: float) -> float:
        """Return the schedule's next occurrence within the bounds."""
        if at < self.start_at:
            at = math.nextafter(self.start_at, -math.inf)
        if at >= self.end_at:
            return math.inf
        found = self.schedule.next_after(at)
        return found if found <= self.end_at else math.inf


@dataclass(frozen=True, slots=True)
class Jittered:
    """Each occurrence later by its own share of ``jitter_s``.

    The share follows from ``name`` and the occurrence, so that every beat, and the same beat after a
    restart, comes to the same moment.
    """

    schedule: Schedule
    jitter_s: float
    name: str

    def next_after(self, at: float) -> float:
        """Return the next delayed occurrence; occurrences may overtake each other."""
        earliest = math.inf
        due_at = self.schedule.next_after(at - self.jitter_s)  # earlier ones have fired by ``at``
        while due_at < earliest:
            fire_at = due_at + self._share_s(due_at)
            if at < fire_at < earliest:
                earliest = fire_at
            due_at = self.schedule.next_after(due_at)
        return earliest

    def _share_s(self, due_at: float) -> float:
        digest = blake2b(f"{self.name} {due_at!r}".encode(), digest_size=8).digest()
        return math.floor(self.jitter_s * 1000 * int.from_bytes(digest, "big") / 2**64) / 1000


def last_of(schedule: Schedule, start_at: float, runs: int) -> float:
    """Return the occurrence number ``runs`` from ``start_at`` on; ``inf`` when there are fewer."""
    found = schedule.next_after(math.nextafter(start_at, -math.inf))
    if isinstance(schedule, Interval):
        return schedule.next_after(found + (runs - 1.5) * schedule.every_s) if runs > 1 else found
    for _ in range(runs - 1):
        if found == math.inf:
            break
        found = schedule.next_after(found)
    return found
