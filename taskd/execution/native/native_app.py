"""taskd's own App as what a pool slot runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial

from taskd.app.app import App
from taskd.app.life_hooks import STAGE_LIMIT_S, WORKER_STAGES, HookPlace, Stage, errand_of
from taskd.base.errors import SoftTimeLimitExceeded
from taskd.config.schema import Config
from taskd.execution import rehearsal
from taskd.execution.native.execute import Executor
from taskd.execution.native.preparing import prepare
from taskd.execution.native.shared_loop import SharedLoop
from taskd.execution.task_app import ScheduleReading, Workplace
from taskd.pools.base import Target
from taskd.pools.opening import AsyncTarget
from taskd.protocol.content import accepted_by
from taskd.protocol.execution import End, decode_reply
from taskd.sending.app_table import AppTable
from taskd.sending.celery_facts import AppFinding
from taskd.sending.options import worker_options


class NativeApp:
    """A ``TaskApp`` and a ``DeclaringApp``."""

    def __init__(self, app: App) -> None:
        self._app = app

    def entries(self) -> ScheduleReading:
        """Return the periodic entries that the code declares."""
        return ScheduleReading(dict(self._app.entries))

    def tasks(self) -> list[str]:
        """Return the names of all tasks."""
        return sorted(self._app.tasks)

    def queue_of(self, task: str) -> str:
        """Return the queue of a task; a call may choose another one."""
        return self._app.tasks[task].settings.queue

    def changing(self, scheduler: str) -> None:
        """Return None: the code has all entries."""

    def findings(self, config: Config, table: str) -> Sequence[AppFinding]:
        """Return none: taskd does what its own App says."""
        return ()


class WorkingApp(NativeApp):
    """The same at its workplace."""

    def __init__(self, app: App, workplace: Workplace) -> None:
        super().__init__(prepare(app))
        app.bind_config(workplace.config)
        self._node_name = workplace.node_name
        if workplace.has_children:
            self._make_errands()
        self._executor = partial(
            Executor,
            app,
            workplace.node_name,
            ledger=workplace.ledger,
            accepted=accepted_by(workplace.config.accept_content),
        )

    def table(self) -> AppTable:
        """Return the options of all tasks."""
        return table_of(self._app)

    def run_stage(self, stage: Stage) -> None:
        """Call the app's hooks of a stage."""
        self._app.hooks.run_stage(stage, HookPlace(self._node_name, os.getpid()))

    def rehearse(self) -> bool:
        """Run a task of another App, which does nothing, some times."""
        app = App()
        app.task(name=rehearsal.NAME)(rehearsal.nothing)
        run = Executor(app, self._node_name)
        message = rehearsal.assignment()
        return all(decode_reply(run(message)).end is End.SUCCEEDED for _ in range(rehearsal.TIMES))

    def _make_errands(self) -> None:
        """Let the worker's parent have the hooks of its own life called in a child."""
        for stage in WORKER_STAGES:
            if self._app.hooks.has(stage):
                declared = self._app.task(name=errand_of(stage), time_limit=STAGE_LIMIT_S, max_retries=0)
                declared(partial(self.run_stage, stage))

    @property
    def soft_limit(self) -> type[Exception]:
        """The exception by which a task hears of its soft time limit."""
        return SoftTimeLimitExceeded

    def blocking(self) -> Target:
        """Return an executor that runs each coroutine in the loop of its thread."""
        return self._executor()

    def green(self) -> Target:
        """Return an executor whose coroutines share one loop."""
        return self._executor(wait=SharedLoop().run)

    def awaitable(self) -> AsyncTarget:
        """Return an executor for a running loop."""
        return self._executor().acall


def table_of(app: App) -> AppTable:
    """Return what the parent must know of an app of taskd's own."""
    tasks = [worker_options(task.settings) for task in app.tasks.values()]
    return AppTable(tasks, hears_ends=app.hooks.hear_ends)
