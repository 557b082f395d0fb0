"""Replaces children after a number of jobs, above a size of memory, or at an age.

A child that is due gets an *heir*: forked, ready and waiting before the child leaves.  Until then the child
goes on working, unless it has had all its jobs.  The heir takes its place between two of its jobs, so there
are never more than the wanted number at work, nor fewer for longer than a fork takes.  Children are only
looked at for limits that are set.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial

from taskd.base import clock
from taskd.base.loop import Loop, LoopTimer
from taskd.host.resident import proportional_bytes, resident_bytes
from taskd.pools.opening import ChildLimits
from taskd.pools.prefork.crew import Crew
from taskd.pools.prefork.handle import Child

TASKS = "max_tasks_per_child"
MEMORY = "max_memory_per_child"
AGE = "max_age_per_child"

#: The heir is asked for when a tenth of the jobs is left, but no more than these.
_JOBS_AHEAD = 100
#: A child's memory is read no more often.  RSS costs 10 us, PSS a walk over all its mappings.
_MEASURE_EVERY_S = {False: 0.1, True: 1.0}
#: A replacement that was not possible is tried again after this time, or earlier when a job ends.
_AGAIN_S = 1.0

_logger = logging.getLogger(__name__)


class Recycling:
    """Sees which child is due, and to its replacement.  For the loop's thread."""

    def __init__(
        self, loop: Loop, crew: Crew, limits: ChildLimits, on_child: Callable[[Child], None]
    ) -> None:
        """``on_child``: this heir is a working child now."""
        self._loop = loop
        self._crew = crew
        self._limits = limits
        self._on_child = on_child
        self._jobs_ahead = min(limits.max_tasks // 10, _JOBS_AHEAD)
        self._age_timer: LoopTimer | None = None
        #: How many children were replaced, by reason.
        self.counts: Counter[str] = Counter()

    def born(self) -> None:
        """A child has begun its work: see to its age."""
        if self._limits.max_age_s and self._age_timer is None:
            self._age_timer = self._loop.call_later(self._limits.max_age_s, self._look_at_ages)

    def sent(self, child: Child) -> None:
        """Ask for the heir when the child has got nearly all its jobs."""
        if self._limits.max_tasks and child.room <= max(self._jobs_ahead, _jobs_while_another_loads(child)):
            self._mark(child, TASKS)

    def reported(self, child: Child) -> None:
        """Look at a child that has just finished jobs."""
        if child.retiring or child.dead:
            return
        if self._limits.max_bytes and not child.reason:
            self._measure(child)
        if child.reason:
            self.go_on(child)

    def go_on(self, child: Child) -> None:
        """Take the next step of a replacement; call it on every change of the child or its heir."""
        if child.retiring or child.dead or not child.able or child.heir_of is not None:
            return
        if child.heir is None:
            heir = self._crew.fork()
            if heir is not None:
                child.expect(heir)
            elif child.room <= 0 and not child.in_hand:
                self._crew.retire(child)  # it is of no use; muster tries for as long as it takes
                self._crew.muster()
        elif child.heir.able:
            child.room = 0
            if not child.in_hand:
                self._hand_over(child)

    def _hand_over(self, child: Child) -> None:
        heir = child.release_heir()
        self._crew.retire(child)
        if heir is not None:
            self._on_child(heir)

    def left(self, child: Child) -> None:
        """A child is dead: say why, unless it was just one too many or was killed for a job's sake."""
        end = child.exited
        if end is not None and not child.retiring and not child.verdicts:
            how = f"signal={end.signal}" if end.signal else f"exit_code={end.exit_code}"
            _logger.warning("child ended pid=%d %s", end.pid, how)
        if not child.reason or not child.retiring:
            return
        self.counts[child.reason] += 1
        _logger.info(
            "child left pid=%d reason=%s jobs=%d age=%.1fs",
            child.pid,
            child.reason,
            child.finished,
            clock.monotonic() - child.born,
        )

    def _mark(self, child: Child, reason: str) -> None:
        if child.heir_of is None and not child.reason:
            child.reason = reason
            self.go_on(child)

    # -- memory ----------------------------------------------------------------------------

    def _measure(self, child: Child) -> None:
        every_s = _MEASURE_EVERY_S[self._limits.proportional]
        now = clock.monotonic()
        if now - child.measured < every_s:
            if child.measured <= now:
                # Once more when the time has come: perhaps no further job brings us here.
                self._loop.call_at(child.measured + every_s, partial(self._measure_at_rest, child))
                child.measured += every_s
            return
        child.measured = now
        measure = proportional_bytes if self._limits.proportional else resident_bytes
        if measure([child.pid]) > self._limits.max_bytes:
            self._mark(child, MEMORY)

    def _measure_at_rest(self, child: Child) -> None:
        child.measured = -float("inf")
        if self._crew.children.get(child.number) is child and not child.in_hand:
            self.reported(child)

    # -- age -------------------------------------------------------------------------------

    def _look_at_ages(self) -> None:
        now = clock.monotonic()
        oldest_s = self._limits.max_age_s
        next_at = now + oldest_s
        for child in self._crew.active():
            if child.born + oldest_s > now:
                next_at = min(next_at, child.born + oldest_s)
                continue
            self._mark(child, AGE)
            if child.heir is None and not child.retiring:
                self.go_on(child)
                next_at = min(next_at, now + _AGAIN_S)
        self._age_timer = self._loop.call_at(next_at, self._look_at_ages) if self._crew.children else None

    def info(self) -> Mapping[str, int]:
        """Return how many children were replaced, by reason."""
        return dict(self.counts)


def _jobs_while_another_loads(child: Child) -> float:
    """Return how many jobs such a child does in twice the time that it took to load the task code."""
    if not child.start_s or not child.finished:
        return 0.0
    lived_s = clock.monotonic() - child.born - child.start_s
    return 2.0 * child.start_s * child.finished / max(lived_s, 0.001)
