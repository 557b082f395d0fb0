"""The user's hooks of the worker's life on prefork: called on a slot of the pool, as the app's commands are.

The worker itself holds none of the user's code there.  A stage is a job without a message, with a time limit;
its failure is logged and harms nothing.
"""

from __future__ import annotations

import logging
import os
from functools import partial
from itertools import count

from taskd.app.app import App
from taskd.app.life_hooks import HookPlace, Stage
from taskd.base import clock
from taskd.base.errors import PoolError
from taskd.consumer.commands.app_commands import answer_of, call_payload
from taskd.consumer.context import Context, Shutdown
from taskd.pools.base import Job, Outcome

logger = logging.getLogger(__name__)

#: How long all hooks of one stage may take together.
LIMIT_S = 10.0
#: The needs of the pool to start them, and to end a child that takes longer.
_GRACE_S = 2.0
#: Tags of these jobs begin here; tags of tasks count from 1, tags of the app's commands from 2**52.
_FIRST_TAG = 2**53
_STAGES = (Stage.WORKER_READY, Stage.WORKER_STOPPING, Stage.WORKER_STOPPED)


def register(app: App, node_name: str) -> None:
    """Make the stages that have hooks known to the worker.  For the template."""
    for stage in _STAGES:
        if app.hooks.has(stage):
            app.task(name=_task_of(stage), time_limit=LIMIT_S, max_retries=0)(
                partial(_run, app, stage, node_name)
            )


def _run(app: App, stage: Stage, node_name: str) -> None:
    app.hooks.run_stage(stage, HookPlace(node_name, os.getpid()))


def _task_of(stage: Stage) -> str:
    return f"taskd.hook.{stage.value}"


class PoolStages:
    """Runs stages on a worker's pool; does nothing for those without hooks, and on other pools."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._tags = count(_FIRST_TAG)
        self._open: set[int] = set()

    def begin(self, stage: Stage) -> None:
        """Have the hooks called as soon as a slot is free."""
        context, name = self._context, _task_of(stage)
        if name not in context.tasks or context.shutdown is Shutdown.COLD:
            return
        tag = next(self._tags)

        def ended(outcome: Outcome) -> None:
            self._open.discard(tag)
            answer = answer_of(outcome)
            if answer is not None:
                logger.error("%s hooks were not all called: %s", stage.value, answer)

        context.calls[tag] = ended
        self._open.add(tag)
        try:
            context.pool.submit([Job(tag, call_payload(name, {}), hard_limit_s=LIMIT_S)])
        except PoolError as error:
            self._open.discard(tag)
            del context.calls[tag]
            logger.error("%s hooks were not called: %s", stage.value, error)

    def finish(self, stage: Stage) -> None:
        """Have the hooks called after all that were begun before, and wait; a cold end waits no longer."""
        self._wait()
        self.begin(stage)
        self._wait()

    def _wait(self) -> None:
        until = clock.monotonic() + LIMIT_S + _GRACE_S
        while self._open and self._context.shutdown is Shutdown.WARM:
            left_s = until - clock.monotonic()
            if left_s <= 0.0:
                logger.error("hooks of the worker's end have not ended in time")
                self._open.clear()
                return
            self._context.loop.run_once(left_s)
