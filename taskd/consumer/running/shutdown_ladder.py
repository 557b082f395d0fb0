"""The ladder of a shutdown: warm, then soft, then cold, each by an absolute deadline.

``ladder`` decides and is pure.  ``ShutdownLadder`` sets the timers when the shutdown begins, on the loop that
outlives the inner blueprint.  So the steps come in time while the worker drains, waits for its broker, or
starts.  The supervisor sends QUIT after the same ``stop_timeout``; whichever is first, the other finds it
done.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from taskd.base import clock
from taskd.base.loop import Loop
from taskd.base.plural import counted
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.request import Softened
from taskd.consumer.running.work import Work

logger = logging.getLogger(__name__)

#: A task that was on its way to a child, and begins only after the soft step, is asked this much later.
_ASK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class ShutdownTimes:
    """Monotonic times: running tasks are asked from ``soft_at`` on (inf: never) and ended at ``cold_at``."""

    soft_at: float
    cold_at: float


def ladder(now: float, stop_timeout_s: float, soft_s: float) -> ShutdownTimes:
    """Return the ladder of a shutdown that begins ``now``; its soft step is the last ``soft_s`` of it."""
    cold_at = now + stop_timeout_s
    return ShutdownTimes(max(now, cold_at - soft_s) if soft_s > 0.0 else math.inf, cold_at)


class ShutdownLadder:
    """Climbs the ladder of one worker.  For the loop's thread."""

    def __init__(self, loop: Loop, live: LiveConfig, work: Work, orders: Orders) -> None:
        self._loop = loop
        self._live = live
        self._work = work
        self._orders = orders
        orders.on_shutdown(self._on_shutdown)

    def _on_shutdown(self, how: Shutdown) -> None:
        """Set the timers of a warm shutdown."""
        if how is not Shutdown.WARM:
            return
        config = self._live.config
        worker = self._live.worker
        steps = ladder(clock.monotonic(), config.supervisor.stop_timeout, worker.soft_shutdown_timeout)
        if steps.soft_at < math.inf:
            self._loop.call_at(steps.soft_at, self._ask)
        self._loop.call_at(steps.cold_at, self._go_cold)

    def _ask(self) -> None:
        """Raise the soft limit in what runs and was not asked before."""
        if self._orders.shutdown is not Shutdown.WARM:
            return
        pool = self._work.pool
        asked = 0
        for running in pool.running():
            request = self._work.requests.get(running.tag)
            if request is None or request.softened is not Softened.NO:
                continue
            if pool.soften(running.tag):
                request.softened = Softened.SHUTDOWN
                asked += 1
        if asked:
            logger.warning("soft shutdown: asked %s to end", counted(asked, "running task"))
        self._loop.call_later(_ASK_EVERY_S, self._ask)

    def _go_cold(self) -> None:
        if self._orders.shutdown is Shutdown.WARM:
            logger.warning("stop_timeout is over: ending what still runs")
            self._orders.request_shutdown(Shutdown.COLD)
