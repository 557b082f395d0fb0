"""The solo pool: jobs run one after the other in ``submit``, in the loop's own thread.

For debugging, and for work that must not leave the process.  While a job runs nothing else of the
worker does: no heartbeat, no remote control.  Hence what it cannot do: soft and hard limits are
ignored, a running job cannot be cancelled, and a job that ends the process ends the worker.
"""

from __future__ import annotations

import os
import traceback
from collections import deque
from collections.abc import Callable, Sequence

from taskd.base import clock
from taskd.base.errors import PoolError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.pools.base import (
    Broken,
    Cancelled,
    Done,
    Job,
    OnOutcomes,
    Outcome,
    PoolInfo,
    RunningJob,
    Target,
)
from taskd.pools.opening import OnReady, TargetForms


def run_in_place(target: Target, job: Job) -> Outcome:
    """Run a job here and say how it ended; for the pools that share the worker's process."""
    begun = clock.monotonic()
    pid = os.getpid()
    try:
        reply = target(job.payload)
    except BaseException:  # noqa: BLE001 - SystemExit of a job must not end the worker either
        return Broken(job.tag, traceback.format_exc())
    finally:
        if os.getpid() != pid:
            os._exit(0)  # a process that the job forked came back: it must not go on as a second worker
    if type(reply) is not bytes:
        return Broken(job.tag, f"the target returned {type(reply).__name__}, expected bytes")
    return Done(job.tag, reply, clock.monotonic() - begun)


class SoloPool:
    """Runs jobs in place.  See ``taskd.pools.base.Pool`` for the methods."""

    def __init__(self, target: Target, *, on_ready: Callable[[], None]) -> None:
        self.capacity = 1
        self._target = target
        self._on_ready = on_ready
        self._backlog: deque[Job] = deque()
        self._outcomes: list[Outcome] = []
        self._running: RunningJob | None = None
        self._active = False
        self._stopping = False

    def start(self, loop: Loop, on_outcomes: OnOutcomes) -> None:
        """Be ready at once; ``on_ready`` is called in the next turn of the loop."""
        self._loop = loop
        self._on_outcomes = on_outcomes
        loop.call_soon(self._on_ready)

    @property
    def ready(self) -> bool:
        """Always, until it is stopped."""
        return not self._stopping

    @property
    def slots(self) -> int:
        """One."""
        return self.capacity

    def submit(self, jobs: Sequence[Job]) -> None:
        """Run the jobs and deliver each outcome.  Called from ``on_outcomes`` it only queues them."""
        if self._stopping:
            raise PoolError("the solo pool is stopping and takes no new job")
        self._backlog.extend(jobs)
        self._run()

    def _run(self) -> None:
        if self._active:
            return  # an outer call, further up the stack, takes them
        self._active = True
        try:
            while self._backlog or self._outcomes:
                if not self._outcomes:
                    job = self._backlog.popleft()
                    self._running = RunningJob(job.tag, os.getpid(), clock.monotonic())
                    self._outcomes.append(run_in_place(self._target, job))
                    self._running = None
                    self._loop.take_signals_back()
                outcomes, self._outcomes = self._outcomes, []
                self._on_outcomes(outcomes)
        finally:
            self._active = False

    @property
    def held(self) -> int:
        """How many jobs are in the pool."""
        return len(self._backlog) + len(self._outcomes) + (self._running is not None)

    def running(self) -> Sequence[RunningJob]:
        """Return the running job: only the job itself can ask while there is one."""
        return [self._running] if self._running is not None else []

    def cancel(self, tag: int, signum: int) -> bool:
        """Drop a waiting job; a running one goes on, and False is returned for it."""
        for job in self._backlog:
            if job.tag == tag:
                self._backlog.remove(job)
                self._outcomes.append(Cancelled(tag, started=False))
                self._loop.call_soon(self._run)
                return True
        return False

    def soften(self, tag: int) -> bool:
        """Do nothing and return False: nobody can ask while a job runs."""
        return False

    def recall(self) -> Sequence[int]:
        """Take back the backlog."""
        tags = [job.tag for job in self._backlog]
        self._backlog.clear()
        return tags

    def resize(self, capacity: int) -> None:
        """Do nothing: one job at a time is what this pool is."""

    def info(self) -> PoolInfo:
        """Describe the pool."""
        return PoolInfo("taskd.pools.solo:SoloPool", max_concurrency=1, processes=[os.getpid()])

    def stop(self, deadline: Deadline) -> None:
        """Take no new job; the ``submit`` that is under way runs the waiting ones."""
        self._stopping = True

    @property
    def stopped(self) -> bool:
        """Whether it was stopped and no job is left."""
        return self._stopping and not self.held

    def kill(self) -> None:
        """Drop what waits.  A running job cannot be ended; nothing is reported for it."""
        self._stopping = True
        self._backlog.clear()
        self._outcomes.clear()
        self._on_outcomes = lambda _outcomes: None


def open_pool(capacity: int, work: TargetForms, on_ready: OnReady) -> SoloPool:  # noqa: ARG001 - it has one slot
    """Return the pool, not started."""
    return SoloPool(work.blocking(), on_ready=on_ready)
