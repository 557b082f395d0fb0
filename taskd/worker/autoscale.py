"""The Autoscaler step: the pool follows its load between two bounds.

The decisions stand in ``taskd.consumer.running.autoscaling``.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from taskd.base import clock
from taskd.base import loop as loops
from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.consumer.running.autoscaling import Memory, SlotBounds, decide
from taskd.worker.foundations import Timer
from taskd.worker.pool_step import PoolStep
from taskd.worker.program import WorkerProgram, concurrency_bounds

logger = logging.getLogger(__name__)

#: How often the load is looked at.
LOOK_EVERY_S = 0.25
#: A pool that is not complete claims nothing.  If new slots cannot be had within this time (a limit
#: of processes, no memory) it goes on with those it had, and is not asked for more for a while.
GROW_WITHIN_S = 5.0
STAY_S = 60.0


class Autoscaler(Step["Autoscaler"]):
    """Looks at the pool at intervals and resizes it; takes part only when the bounds differ."""

    name = "Autoscaler"
    requires = (Timer, PoolStep)

    def __init__(self, program: WorkerProgram) -> None:
        least, most = concurrency_bounds(program.worker)
        self._bounds = SlotBounds(least, most, program.worker.shrink_after)
        self._timer: loops.LoopTimer | None = None
        #: The size before it grew, while the new slots are not there.
        self._former = 0
        self._grow_until = 0.0
        self._stay_until = 0.0

    def included(self) -> bool:
        """Return whether there is anything to choose."""
        return self._bounds.least < self._bounds.most

    def start(self, given: Given) -> Autoscaler:
        """Begin to look."""
        self._loop = given[Timer]
        self._pool = given[PoolStep].work.pool
        # Nothing is known yet: no shrinking before a whole quiet time has passed.
        self._memory = Memory(clock.monotonic(), 0, self._bounds.most)
        self._timer = self._loop.every(LOOK_EVERY_S, self._look)
        return self

    def _look(self) -> None:
        pool = self._pool
        now = clock.monotonic()
        if not pool.ready or pool.slots < pool.capacity:  # it starts, is still growing, or ends
            if self._former and now >= self._grow_until:
                self._give_up_growing(now)
            return
        self._former = 0
        size = pool.capacity
        bounds = self._bounds if now >= self._stay_until else replace(self._bounds, most=size)
        capacity, self._memory = decide(bounds, self._memory, now, pool.held, size)
        if capacity == size:
            return
        logger.info("pool held=%d concurrency=%d, from now on %d", pool.held, size, capacity)
        if capacity > size:
            self._former = size
            self._grow_until = now + GROW_WITHIN_S
        pool.resize(capacity)

    def _give_up_growing(self, now: float) -> None:
        logger.warning(
            "pool could not grow to concurrency=%d within %.0f s; it goes on with %d",
            self._pool.capacity,
            GROW_WITHIN_S,
            self._former,
        )
        self._pool.resize(self._former)
        self._former = 0
        self._stay_until = now + STAY_S

    def update(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Change the bounds, None for as before; return both.  Raises: ``ValueError`` for senseless ones."""
        new_most = self._bounds.most if most is None else int(most)
        new_least = min(self._bounds.least, new_most) if least is None else int(least)
        if not 1 <= new_least <= new_most:
            raise ValueError(f"expected 1 <= min <= max, not min={new_least} max={new_most}")
        self._bounds = replace(self._bounds, most=new_most, least=new_least)
        if not new_least <= self._pool.capacity <= new_most:
            self._pool.resize(min(max(self._pool.capacity, new_least), new_most))
        return new_most, new_least

    def stop(self, deadline: Deadline) -> None:
        """Leave the pool as it is."""
        if self._timer is not None:
            self._timer.cancel()

    def info(self) -> dict[str, object]:
        """Return what ``inspect stats`` shows, keyed as Celery's."""
        pool = self._pool
        bounds = self._bounds
        shown = {"max": bounds.most, "min": bounds.least, "current": pool.capacity, "qty": pool.held}
        return {"autoscaler": shown}
