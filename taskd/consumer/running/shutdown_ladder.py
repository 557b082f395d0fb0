"""The ladder of a shutdown: warm, then soft, then cold, each by an absolute deadline.

``ladder`` decides and is pure; ``Ending`` sets the timers when the shutdown begins, on the loop that
outlives the inner blueprint: so the steps come in time while the worker drains, waits for its broker, or
starts.  The supervisor sends QUIT after the same ``stop_timeout``; whichever is first, the other
finds it done.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

from taskd.base import clock
from taskd.base.exhaustive import assert_never
from taskd.base.plural import counted
from taskd.consumer.context import Context, Shutdown
from taskd.consumer.request import Softened

logger = logging.getLogger(__name__)

#: A task that was on its way to a child, and begins only after the soft step, is asked this much later.
_ASK_EVERY_S = 0.25


@dataclass(frozen=True, slots=True)
class Ladder:
    """Monotonic times: running tasks are asked from ``soft_at`` on (inf: never) and ended at ``cold_at``."""

    soft_at: float
    cold_at: float


def ladder(now: float, stop_timeout_s: float, soft_s: float) -> Ladder:
    """Return the ladder of a shutdown that begins ``now``; its soft step is the last ``soft_s`` of it."""
    cold_at = now + stop_timeout_s
    return Ladder(max(now, cold_at - soft_s) if soft_s > 0.0 else math.inf, cold_at)


class Ending:
    """Climbs the ladder of one worker.  For the loop's thread."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def on_shutdown(self, how: Shutdown) -> None:
        """Hear of a shutdown that was requested, or became more immediate."""
        match how:
            case Shutdown.WARM:
                config, worker = self._context.config, self._context.worker
                steps = ladder(
                    clock.monotonic(), config.supervisor.stop_timeout, worker.soft_shutdown_timeout
                )
                if steps.soft_at < math.inf:
                    self._context.loop.call_at(steps.soft_at, self._ask)
                self._context.loop.call_at(steps.cold_at, self._go_cold)
            case Shutdown.NONE | Shutdown.COLD:
                pass
            case _:
                assert_never(how)

    def _ask(self) -> None:
        """Raise the soft limit in what runs and was not asked before."""
        context = self._context
        if context.shutdown is not Shutdown.WARM:
            return
        asked = 0
        for running in context.pool.running():
            request = context.requests.get(running.tag)
            if request is None or request.softened is not Softened.NO:
                continue
            if context.pool.soften(running.tag):
                request.softened = Softened.SHUTDOWN
                asked += 1
        if asked:
            logger.warning("soft shutdown: asked %s to end", counted(asked, "running task"))
        context.loop.call_later(_ASK_EVERY_S, self._ask)

    def _go_cold(self) -> None:
        if self._context.shutdown is Shutdown.WARM:
            logger.warning("stop_timeout is over: ending what still runs")
            self._context.request_shutdown(Shutdown.COLD)
