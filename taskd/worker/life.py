"""The stages of a worker's life, and the user's hooks that are called at each."""

from __future__ import annotations

from collections.abc import Callable

from taskd.app.life_hooks import Stage
from taskd.consumer.moments import Moments
from taskd.worker.stages import PoolStages


class Life:
    """Calls the user's hooks at the moments of the worker's life; each stage once, in order."""

    def __init__(self, moments: Moments, run_stage: Callable[[Stage], None], in_pool: PoolStages) -> None:
        """``run_stage`` calls the hooks here, ``in_pool`` on a slot; one of the two has nothing to call."""
        self._run_stage = run_stage
        self._in_pool = in_pool
        self._was_ready = False
        self._stops = False
        moments.ready.subscribe(self._ready)
        moments.draining.subscribe(lambda _: self.stopping())

    def _ready(self, _: None) -> None:
        if not self._was_ready:
            self._was_ready = True
            self._run_stage(Stage.WORKER_READY)
            self._in_pool.begin(Stage.WORKER_READY)

    def stopping(self) -> None:
        """The worker takes nothing new any more."""
        if not self._stops:
            self._stops = True
            self._run_stage(Stage.WORKER_STOPPING)
            self._in_pool.begin(Stage.WORKER_STOPPING)

    def before_the_pool_ends(self) -> None:
        """Nothing is unsettled any more, if the worker ends warmly; may block for some seconds."""
        self._in_pool.finish(Stage.WORKER_STOPPED)

    def stopped(self) -> None:
        """Nothing runs any more."""
        self._run_stage(Stage.WORKER_STOPPED)
