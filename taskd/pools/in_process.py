"""The common part of the pools that run jobs in the worker's own process, beside its loop.

It keeps the jobs that wait, the outcomes on their way to the loop, and the number that is held.  A kind of
pool adds a runner for the jobs.  The lock guards everything that both sides touch.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence

from taskd.base.errors import PoolError
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.pools.base import Cancelled, Job, OnOutcomes, Outcome


class InProcessPool(ABC):
    """The part of a pool that knows no runner.  See ``taskd.pools.base.Pool`` for the public methods."""

    _loop: Loop
    _on_outcomes: OnOutcomes

    def __init__(self, capacity: int, *, on_ready: Callable[[], None]) -> None:
        self.capacity = capacity
        self._on_ready = on_ready
        self._lock = threading.Lock()
        # Guarded by the lock: everything from here on.
        self._backlog: deque[Job] = deque()
        self._outcomes: list[Outcome] = []
        self._wake_sent = False
        self._held = 0
        self._abandoned = 0
        self._stopping = False

    @property
    def held(self) -> int:
        """How many jobs have been submitted and have no outcome yet."""
        return self._held

    @property
    def slots(self) -> int:
        """How many jobs can run at the same time."""
        return self.capacity

    @property
    @abstractmethod
    def stopped(self) -> bool:
        """Whether the pool was stopped and nothing is left of it."""

    @abstractmethod
    def kill(self) -> None:
        """End every slot at once.  Jobs get no outcome any more."""

    def recall(self) -> Sequence[int]:
        """Take back the backlog: everything that has not begun."""
        with self._lock:
            tags = [job.tag for job in self._backlog]
            self._backlog.clear()
            self._held -= len(tags)
        self._after_change()
        return tags

    def _after_change(self) -> None:  # noqa: B027 - threads have nothing to do
        """Hear that fewer jobs are held.  In the loop, without the lock."""

    # -- with the lock -----------------------------------------------------------------------

    def _admit(self, jobs: Sequence[Job]) -> None:
        """Let jobs wait.  Raises: ``PoolError`` when the pool is stopping."""
        if self._stopping:
            raise PoolError(f"the {type(self).__name__} is stopping and takes no new job")
        self._backlog.extend(jobs)
        self._held += len(jobs)

    def _note(self, outcome: Outcome) -> None:
        """Keep an outcome and have the loop deliver it.  From any thread."""
        self._outcomes.append(outcome)
        if not self._wake_sent:
            self._wake_sent = True
            self._loop.call_from_thread(self._deliver)

    def _drop_waiting(self, tag: int) -> bool:
        """Cancel a job that waits; False when none of that tag does."""
        job = next((job for job in self._backlog if job.tag == tag), None)
        if job is None:
            return False
        self._backlog.remove(job)
        self._note(Cancelled(tag, started=False))
        return True

    def _forget_all(self) -> None:
        """Hold nothing any more, and take nothing."""
        self._stopping = True
        self._backlog.clear()
        self._outcomes.clear()
        self._held = 0

    # -- in the loop -------------------------------------------------------------------------

    def _deliver(self) -> None:
        with self._lock:
            self._wake_sent = False
            outcomes, self._outcomes = self._outcomes, []
            self._held -= len(outcomes)
        if outcomes:
            self._loop.take_signals_back()
            self._on_outcomes(outcomes)
        self._after_change()

    def _kill_at(self, deadline: Deadline) -> None:
        """Kill the pool at the deadline if it has not stopped by then."""

        def kill_unless_stopped() -> None:
            if not self.stopped:
                self.kill()

        if deadline.until != math.inf:
            self._loop.call_at(deadline.until, kill_unless_stopped)
