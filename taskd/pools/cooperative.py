"""The common part of the pools of coroutines and greenlets: jobs, limits, and outcomes.

A *runner* (an event loop in a thread, or the greenlet hub) runs the jobs; the pool's own loop asks
for them and hears how they end.  Both sides enter through methods that say so, and the lock guards
the records between them.  A job can be ended only where it waits.  One that does not end at its hard limit,
or is cancelled with ``KILL``, is given up.  Its slot is free again, and a later return value is dropped.
"""

from __future__ import annotations

import math
import os
from abc import abstractmethod
from collections.abc import Callable, Sequence

from taskd.base import clock
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, LoopTimer
from taskd.pools.base import KILL, Cancelled, Job, OnOutcomes, Outcome, PoolInfo, RunningJob, TimedOut
from taskd.pools.in_process import InProcessPool

#: From the hard limit until a job that has not ended is given up.
TIME_LIMIT_GRACE_S = 0.5


class TakenSlot:
    """A job that has begun.  Fields are guarded by the pool's lock."""

    __slots__ = ("due", "end", "ended", "handle", "heard", "job", "since", "softened")

    def __init__(self, job: Job) -> None:
        self.job = job
        self.since = clock.monotonic()
        #: The handle of the runner, in the pool's own type.
        self.handle: object = None
        #: The outcome that will be reported, even if the job still returns.
        self.end: Outcome | None = None
        self.softened = not job.soft_limit_s
        #: The runner has passed on that the job is to end.
        self.heard = False
        self.ended = False
        #: When something is to be done about it.
        self.due = self.next_limit()

    @property
    def why_softened(self) -> str:
        """The text for the job at its soft limit: which time has passed, or that somebody asked it to end."""
        limit_s = self.job.soft_limit_s
        passed = limit_s and clock.monotonic() >= self.since + limit_s
        return f"after {limit_s:g} s" if passed else "this task was asked to end"

    def next_limit(self) -> float:
        """Return when the next limit of the job passes; infinite for none."""
        hard = self.since + self.job.hard_limit_s if self.job.hard_limit_s else math.inf
        return hard if self.softened else min(hard, self.since + self.job.soft_limit_s)


class CooperativePool(InProcessPool):
    """Runs up to ``capacity`` jobs at once in a runner.  See ``taskd.pools.base.Pool`` for the methods."""

    def __init__(self, capacity: int, *, on_ready: Callable[[], None]) -> None:
        super().__init__(capacity, on_ready=on_ready)
        # Guarded by the lock: both.
        self._slots: dict[int, TakenSlot] = {}
        self._timer: LoopTimer | None = None

    # -- what a kind of pool adds ----------------------------------------------------------

    @abstractmethod
    def _open(self) -> None:
        """Make the runner.  In the loop."""

    @abstractmethod
    def _rouse(self) -> None:
        """Have the runner call ``_begin`` soon.  From the loop or the runner, without the lock."""

    @abstractmethod
    def _launch(self, slot: TakenSlot) -> object:
        """Start the job of a slot and return its handle.  In the runner, with the lock."""

    @abstractmethod
    def _interrupt(self, slot: TakenSlot, *, soft: bool) -> None:
        """Have the runner end the job, or raise the soft limit in it.  In the loop, with the lock."""

    @abstractmethod
    def _close(self) -> None:
        """End the runner, for nothing is held any more.  In the loop; may be called twice."""

    def _may_begin(self) -> bool:
        """Whether the caller is the runner that begins jobs now.  With the lock."""
        return True

    def _gave_up(self, slot: TakenSlot) -> None:
        """Hear of a job that did not end when asked to.  In the loop, with the lock."""

    # -- in the runner ---------------------------------------------------------------------

    def _begin(self) -> None:
        """Begin as many of the waiting jobs as there are free slots."""
        if not self._backlog:
            return
        sooner = False
        with self._lock:
            until = math.inf if self._timer is None else self._timer.until
            while self._backlog and len(self._slots) < self.capacity and self._may_begin():
                slot = TakenSlot(self._backlog.popleft())
                self._slots[slot.job.tag] = slot
                slot.handle = self._launch(slot)
                sooner = sooner or slot.due < until
            if sooner:
                self._loop.call_from_thread(self._arm)

    def _finish(self, slot: TakenSlot, outcome: Outcome) -> None:
        """Report the job of a slot, unless it was given up."""
        with self._lock:
            slot.ended = True
            if self._slots.get(slot.job.tag) is not slot:
                self._abandoned -= 1
                return
            del self._slots[slot.job.tag]
            self._note(slot.end or outcome)

    # -- in the loop -----------------------------------------------------------------------

    def start(self, loop: Loop, on_outcomes: OnOutcomes) -> None:
        """Start the runner; ``on_ready`` is called in the next turn of the loop."""
        self._loop = loop
        self._on_outcomes = on_outcomes
        self._open()
        loop.call_soon(self._on_ready)

    @property
    def ready(self) -> bool:
        """Always, until it is stopped."""
        return not self._stopping

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; jobs without a slot wait, in order."""
        with self._lock:
            self._admit(jobs)
            full = len(self._slots) >= self.capacity
        if not full:
            self._rouse()

    def _after_change(self) -> None:
        if self.stopped:
            self._close()

    def _arm(self) -> None:
        """Set the one timer for the slot that is due first."""
        with self._lock:
            due = min((slot.due for slot in self._slots.values()), default=math.inf)
            if self._timer is not None:
                if self._timer.until <= due:
                    return  # it will arm the next when it fires
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._on_due) if due < math.inf else None

    def _on_due(self) -> None:
        with self._lock:
            self._timer = None
            now = clock.monotonic()
            late = [slot for slot in self._slots.values() if slot.due <= now]
            given_up = [slot for slot in late if self._advance(slot, now)]
        if given_up:
            self._rouse()
        self._arm()

    def _advance(self, slot: TakenSlot, now: float) -> bool:
        """Do what is due about a slot; True when that was to give it up."""
        if slot.end is not None:
            del self._slots[slot.job.tag]
            self._abandoned += 1
            self._note(slot.end)
            self._gave_up(slot)
            return True
        limit_s = slot.job.hard_limit_s
        if limit_s and now >= slot.since + limit_s:
            self._end(slot, TimedOut(slot.job.tag, limit_s), now + TIME_LIMIT_GRACE_S)
        else:
            slot.softened = True
            slot.due = slot.next_limit()
            self._interrupt(slot, soft=True)
        return False

    def _end(self, slot: TakenSlot, end: Outcome, until: float) -> None:
        """Ask a job to end, and give it up at ``until`` if it has not."""
        slot.end = slot.end or end
        slot.softened = True
        slot.due = min(until, slot.next_limit())
        self._interrupt(slot, soft=False)

    def running(self) -> Sequence[RunningJob]:
        """Return the jobs that have begun."""
        pid = os.getpid()
        with self._lock:
            return [RunningJob(tag, pid, slot.since) for tag, slot in self._slots.items()]

    def cancel(self, tag: int, signum: int) -> bool:
        """End one job; a running one ends where it waits next, and ``KILL`` gives it up."""
        with self._lock:
            slot = self._slots.get(tag)
            if slot is None:
                return self._drop_waiting(tag)
            if signum:
                until = clock.monotonic() if signum == KILL else math.inf
                self._end(slot, Cancelled(tag, started=True), until)
                self._loop.call_soon(self._arm)
        return True

    def soften(self, tag: int) -> bool:
        """Raise the soft limit in one running job."""
        with self._lock:
            slot = self._slots.get(tag)
            if slot is None or slot.end is not None:
                return False
            self._interrupt(slot, soft=True)
        return True

    def resize(self, capacity: int) -> None:
        """Change how many jobs run at once; surplus ones go on to their end."""
        with self._lock:
            self.capacity = capacity
        self._rouse()

    def info(self) -> PoolInfo:
        """Describe the pool."""
        return PoolInfo(
            f"{type(self).__module__}:{type(self).__qualname__}",
            max_concurrency=self.capacity,
            processes=[os.getpid()],
            details={
                "running": len(self._slots),
                "abandoned": self._abandoned,
                "waiting": len(self._backlog),
            },
        )

    def stop(self, deadline: Deadline) -> None:
        """Finish what is held; at the deadline what still runs is given up."""
        with self._lock:
            self._stopping = True
        if self.stopped:
            self._close()
        else:
            self._kill_at(deadline)

    @property
    def stopped(self) -> bool:
        """Whether it was stopped and no job is held."""
        return self._stopping and not self._held

    def kill(self) -> None:
        """Ask every job to end and give it up.  Jobs get no outcome any more."""
        with self._lock:
            self._forget_all()
            slots, self._slots = self._slots, {}
            self._abandoned += len(slots)
            for slot in slots.values():
                self._interrupt(slot, soft=False)
        self._close()
