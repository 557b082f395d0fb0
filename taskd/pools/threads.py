"""The threads pool: jobs run in threads of the worker's own process.

For work that waits on the network or runs in C code without the interpreter's lock.  A thread
cannot be killed, so the limits are weaker than prefork's:

- Soft limit, ``soften`` and cancel raise inside the job, which cannot interrupt C code: a job in
  ``time.sleep(60)`` sees it after the 60 seconds.  The outcome follows when the job ends.
- At the hard limit, and on cancel with ``KILL``, the outcome is delivered at once, and the thread is
  abandoned and replaced by a new one.  A value that it may still return is dropped.  It goes on using memory
  and whatever else it holds until its code returns.
- A job that ends the process ends the worker.

Threads are daemons: the worker's exit never waits for one.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Sequence
from functools import partial

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.errors import SoftTimeLimitExceeded, StartError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.host.process_limits import used_up
from taskd.pools.base import (
    KILL,
    Broken,
    Cancelled,
    Job,
    OnOutcomes,
    Outcome,
    PoolInfo,
    RunningJob,
    Target,
    TimedOut,
)
from taskd.pools.in_process import InProcessPool
from taskd.pools.interrupt import JobAborted, forget_in_thread, raise_in_thread
from taskd.pools.opening import OnReady, TargetForms
from taskd.pools.solo import run_in_place

_REFUSED = Backoff(base_s=0.1, max_s=10.0)

_logger = logging.getLogger(__name__)


class _Slot:
    """One thread and what it runs.  Fields are guarded by the pool's lock."""

    __slots__ = ("abandoned", "cancelled", "ident", "job", "since")

    def __init__(self) -> None:
        self.ident = 0
        self.job: Job | None = None
        self.since = 0.0
        self.cancelled = False
        #: The pool has given it up: it takes no job and reports nothing any more.
        self.abandoned = False


class ThreadsPool(InProcessPool):
    """Runs jobs in threads.  See ``taskd.pools.base.Pool`` for the methods."""

    def __init__(
        self,
        capacity: int,
        target: Target,
        *,
        on_ready: Callable[[], None],
        soft_limit: type[Exception] = SoftTimeLimitExceeded,
    ) -> None:
        super().__init__(capacity, on_ready=on_ready)
        self._target = target
        self._soft_limit = soft_limit
        #: The exceptions that the pool raises in a thread.
        self._raised = (JobAborted, soft_limit)
        self._work = threading.Condition(self._lock)
        # Guarded by the lock: both.
        self._slots: list[_Slot] = []
        self._waiting = 0
        #: How often in a row no more threads could be had.
        self._refused = 0

    def start(self, loop: Loop, on_outcomes: OnOutcomes) -> None:
        """Start the threads; ``on_ready`` is called in the next turn of the loop."""
        self._loop = loop
        self._on_outcomes = on_outcomes
        with self._lock:
            self._fill()
        if not self._slots:
            raise StartError(f"the threads pool can start no thread: {used_up()}")
        loop.call_soon(self._on_ready)

    def _fill(self) -> None:
        while len(self._slots) < self.capacity:
            slot = _Slot()
            self._slots.append(slot)
            try:
                threading.Thread(target=self._serve, args=(slot,), name="taskd-job", daemon=True).start()
            except RuntimeError as error:
                self._slots.remove(slot)
                self._go_on_with_fewer(error)
                return
        if self._refused:
            self._refused = 0
            _logger.info("all %d threads are there", self.capacity)

    def _go_on_with_fewer(self, error: RuntimeError) -> None:
        self._refused += 1
        delay_s = _REFUSED.delay_s(self._refused)
        if self._refused == 1:
            there = len(self._slots)
            wanted = self.capacity
            _logger.warning(
                "%d of %d threads are there, next in %.2f s: %s; %s", there, wanted, delay_s, error, used_up()
            )
        self._loop.call_later(delay_s, self._fill_again)

    def _fill_again(self) -> None:
        with self._lock:
            if not self._stopping:
                self._fill()

    @property
    def ready(self) -> bool:
        """Whether jobs can run."""
        return not self._stopping and bool(self._slots)

    @property
    def slots(self) -> int:
        """How many threads there are."""
        return len(self._slots)

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; jobs without a thread wait, in order."""
        with self._lock:
            self._admit(jobs)
            if self._waiting:
                self._work.notify(min(len(jobs), self._waiting))

    # -- in the threads --------------------------------------------------------------------

    def _serve(self, slot: _Slot) -> None:
        slot.ident = threading.get_ident()
        while True:
            outcome: Outcome | None = None
            try:
                job = self._next(slot)
                if job is None:
                    return
                outcome = run_in_place(self._target, job)
            except self._raised:
                pass  # it came in an instant before or after the target ran
            self._finish(slot, outcome)

    def _next(self, slot: _Slot) -> Job | None:
        """Wait for a job and begin it; None when the thread is to end."""
        with self._lock:
            while not self._backlog:
                if self._stopping or len(self._slots) > self.capacity or slot.abandoned:
                    self._end(slot)
                    return None
                self._waiting += 1
                self._work.wait()
                self._waiting -= 1
            if len(self._slots) > self.capacity or slot.abandoned:
                self._end(slot)
                return None
            job = self._backlog.popleft()
            slot.job = job
            slot.since = clock.monotonic()
            slot.cancelled = False
            if job.soft_limit_s or job.hard_limit_s:
                self._loop.call_from_thread(partial(self._arm, slot, job))
            return job

    def _end(self, slot: _Slot) -> None:
        if not slot.abandoned:
            self._slots.remove(slot)
        if self._waiting:
            self._work.notify()  # it may have been woken for a job that another has to take now

    def _finish(self, slot: _Slot, outcome: Outcome | None) -> None:
        """Report the job of the slot.  An exception that was meant for it may still come here."""
        while True:
            try:
                with self._lock:
                    # First: whoever raises holds the lock, so that nothing comes after this line.
                    forget_in_thread(slot.ident)
                    if slot.job is not None:
                        self._report(slot, slot.job, outcome)
                        slot.job = None
            except self._raised:
                continue
            return

    def _report(self, slot: _Slot, job: Job, outcome: Outcome | None) -> None:
        if slot.abandoned:
            self._abandoned -= 1
            return
        if slot.cancelled:
            outcome = Cancelled(job.tag, started=True)
        elif outcome is None:
            outcome = Broken(job.tag, "interrupted by a soft time limit in the instant of its end")
        self._note(outcome)

    # -- in the loop -----------------------------------------------------------------------

    def _arm(self, slot: _Slot, job: Job) -> None:
        """Set the timers of a job that has begun."""
        if slot.job is not job:
            return
        if job.soft_limit_s:
            self._loop.call_at(slot.since + job.soft_limit_s, partial(self._on_soft_limit, slot, job))
        if job.hard_limit_s:
            self._loop.call_at(slot.since + job.hard_limit_s, partial(self._on_hard_limit, slot, job))

    def _on_soft_limit(self, slot: _Slot, job: Job) -> None:
        with self._lock:
            if slot.job is job and not slot.abandoned:
                raise_in_thread(slot.ident, self._soft_limit)

    def _on_hard_limit(self, slot: _Slot, job: Job) -> None:
        with self._lock:
            if slot.job is not job or slot.abandoned:
                return
            self._replace(slot, TimedOut(job.tag, job.hard_limit_s))

    def _replace(self, slot: _Slot, end: Outcome) -> None:
        """Report a job that may go on, and put a new thread in the place of its own."""
        self._abandon(slot)
        self._note(end)
        self._fill()

    def _abandon(self, slot: _Slot) -> None:
        slot.abandoned = True
        self._abandoned += 1
        self._slots.remove(slot)
        raise_in_thread(slot.ident, JobAborted)  # it may help

    def running(self) -> Sequence[RunningJob]:
        """Return the jobs that have begun."""
        with self._lock:
            return [
                RunningJob(slot.job.tag, os.getpid(), slot.since)
                for slot in self._slots
                if slot.job is not None
            ]

    def cancel(self, tag: int, signum: int) -> bool:
        """End one job: a running one by an exception, which cannot interrupt C code; ``KILL`` abandons it."""
        with self._lock:
            if self._drop_waiting(tag):
                return True
            slot = self._slot_of(tag)
            if slot is None:
                return False
            if signum == KILL:
                self._replace(slot, Cancelled(tag, started=True))
            elif signum:
                slot.cancelled = True
                raise_in_thread(slot.ident, JobAborted)
        return True

    def soften(self, tag: int) -> bool:
        """Raise the soft limit in one running job."""
        with self._lock:
            slot = self._slot_of(tag)
            if slot is None or slot.cancelled:
                return False
            raise_in_thread(slot.ident, self._soft_limit)
        return True

    def _slot_of(self, tag: int) -> _Slot | None:
        return next((slot for slot in self._slots if slot.job is not None and slot.job.tag == tag), None)

    def resize(self, capacity: int) -> None:
        """Change the number of threads; surplus ones end as they become idle."""
        with self._lock:
            self.capacity = capacity
            if not self._stopping:
                self._fill()
            self._work.notify_all()

    def info(self) -> PoolInfo:
        """Describe the pool."""
        return PoolInfo(
            "taskd.pools.threads:ThreadsPool",
            max_concurrency=self.capacity,
            processes=[os.getpid()],
            details={
                "threads": len(self._slots),
                "abandoned": self._abandoned,
                "waiting": len(self._backlog),
            },
        )

    def stop(self, deadline: Deadline) -> None:
        """Finish what is held; at the deadline the threads that still run are abandoned."""
        with self._lock:
            self._stopping = True
            self._work.notify_all()
        self._kill_at(deadline)

    @property
    def stopped(self) -> bool:
        """Whether no thread is left, those abandoned aside."""
        return self._stopping and not self._slots and not self._held

    def kill(self) -> None:
        """Abandon every thread.  Jobs get no outcome any more."""
        with self._lock:
            self._forget_all()
            for slot in list(self._slots):
                if slot.job is not None:
                    self._abandon(slot)
                else:
                    slot.abandoned = True
                    self._slots.remove(slot)
            self._work.notify_all()


def open_pool(capacity: int, work: TargetForms, on_ready: OnReady) -> ThreadsPool:
    """Return the pool, not started."""
    return ThreadsPool(capacity, work.blocking(), on_ready=on_ready, soft_limit=work.soft_limit)
