"""Notices messages that were claimed ahead and wait behind long tasks, so that they can be given back.

A claim ahead is a guess by the mean run time.  When every slot then gets a long task, the guess was
wrong: messages wait here that another worker could run.  Nothing finishing for several mean run times
is how the mistake shows.  A number as ``prefetch`` is an order and not a guess, and is kept.
"""

from __future__ import annotations

from collections.abc import Callable

from taskd.base.loop import Loop, LoopTimer
from taskd.consumer.claiming.prefetch import stall_after_s
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.running.statistics import RunTimes, Tally
from taskd.pools.base import Pool


class StallWatch:
    """Calls ``give_back`` when jobs wait in the pool and none has finished for a while.

    ``stalled`` holds from then on until a task finishes: meanwhile nothing is to be claimed ahead.
    """

    def __init__(
        self,
        loop: Loop,
        live: LiveConfig,
        pool: Pool,
        tally: Tally,
        run_times: RunTimes,
        *,
        give_back: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._live = live
        self._pool = pool
        self._tally = tally
        self._run_times = run_times
        self._give_back = give_back
        self._timer: LoopTimer | None = None
        self._stalled_at_done = -1

    @property
    def stalled(self) -> bool:
        """Whether nothing has finished since what waited was given back."""
        return self._stalled_at_done == self._tally.done

    def look(self) -> None:
        """Begin to watch if jobs wait in the pool; call it after each submit."""
        if isinstance(self._live.worker.prefetch, int):
            return
        if self._timer is None and self._pool.held > self._pool.capacity:
            done = self._tally.done
            wait_s = stall_after_s(self._run_times.mean_s)
            self._timer = self._loop.call_later(wait_s, lambda: self._after(done))

    def _after(self, done: int) -> None:
        self._timer = None
        if self._tally.done != done:
            self.look()
        elif self._pool.held > self._pool.capacity:
            self._stalled_at_done = done
            self._give_back()

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
