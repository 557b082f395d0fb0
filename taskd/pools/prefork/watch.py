"""Jobs that run too long: those over their hard limit, and those that others wait behind.

Looks only at children that hold a limited job or more than one; an idle pool is not woken.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from taskd.base import clock
from taskd.base.loop import Loop, LoopTimer
from taskd.pools.base import Job, Outcome, TimedOut
from taskd.pools.prefork.handle import Child

#: A job that runs longer than this must have no other behind it.
STUCK_S = 0.02
#: Between HOLD and taking back: see "Taking back" in ``slot``.
_HOLD_S = 0.01


class Watch:
    """Timers of one pool.  ``children`` is the crew's live table, by number."""

    def __init__(
        self,
        loop: Loop,
        children: Mapping[int, Child],
        *,
        on_reports: Callable[[Child, Sequence[Outcome], Sequence[Job]], None],
        on_taken_back: Callable[[Child, Sequence[Job]], None],
    ) -> None:
        self._loop = loop
        self._children = children
        self._on_reports = on_reports
        self._on_taken_back = on_taken_back
        self._stuck: LoopTimer | None = None
        self._limits: dict[Child, LoopTimer] = {}

    def sent(self, child: Child, trip: Sequence[Job]) -> None:
        """Watch over jobs that were just sent."""
        if self._stuck is None and len(child.in_hand) > 1:
            self._stuck = self._loop.call_later(STUCK_S, self._look_for_stuck)
        limits = [job.hard_limit_s for job in trip if job.hard_limit_s]
        if limits:
            self._look_at_limit(child, clock.monotonic() + min(limits))

    def hold(self, child: Child) -> None:
        """Take back what the child has not begun; ``on_taken_back`` follows some milliseconds later."""
        child.hold()
        self._loop.call_later(_HOLD_S, partial(self._take_back, child))

    def forget(self, child: Child) -> None:
        """The child is dead."""
        timer = self._limits.pop(child, None)
        if timer is not None:
            timer.cancel()

    def _take_back(self, child: Child) -> None:
        if self._children.get(child.number) is child:  # else it died, and everything was put back
            self._on_taken_back(child, child.take_back())

    def _look_for_stuck(self) -> None:
        self._stuck = None
        now = clock.monotonic()
        again = False
        for child in list(self._children.values()):
            if child.number not in self._children or len(child.in_hand) < 2:
                continue
            again = True
            running = child.running()
            if child.holding or running is None or now - running.since < STUCK_S:
                continue
            overheard = child.overhear()
            if overheard is not None:
                self.hold(child)
                self._on_reports(child, *overheard)
        if again and self._stuck is None:
            self._stuck = self._loop.call_later(STUCK_S, self._look_for_stuck)

    def _look_at_limit(self, child: Child, until: float) -> None:
        """Look at the child's hard limits at ``until``, unless that happens earlier already."""
        timer = self._limits.get(child)
        if timer is not None:
            if timer.until <= until:
                return
            timer.cancel()
        self._limits[child] = self._loop.call_at(until, partial(self._enforce_limit, child))

    def _enforce_limit(self, child: Child) -> None:
        del self._limits[child]
        if self._children.get(child.number) is not child:
            return
        running = child.running()
        now = clock.monotonic()
        for job in child.in_hand:
            if job is None or not job.hard_limit_s:
                continue
            is_running = running is not None and running.tag == job.tag
            until = (running.since if running is not None and is_running else now) + job.hard_limit_s
            if is_running and until <= now:
                child.verdicts[job.tag] = TimedOut(job.tag, job.hard_limit_s)
                child.signal(signal.SIGKILL)
                return
            self._look_at_limit(child, until)
