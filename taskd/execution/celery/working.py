"""A Celery app as what a pool slot runs."""

from __future__ import annotations

import os
from functools import partial
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import signals
from celery._state import _set_task_join_will_block

from taskd.app.life_hooks import STAGE_LIMIT_S, WORKER_STAGES, Stage, errand_of
from taskd.base import log
from taskd.base.errors import StartError
from taskd.execution.celery.conf.findings import other_pools, told_by_worker, unable_to_run
from taskd.execution.celery.leaving import leave_as_child
from taskd.execution.celery.records import HandedRecords
from taskd.execution.celery.rehearsing import rehearse
from taskd.execution.celery.running import CeleryExecutor
from taskd.execution.celery.shown import shown_settings, software_of
from taskd.execution.celery.tasks import options_of
from taskd.execution.celery.worker_start import WorkerStandIn, start_process, start_worker
from taskd.execution.task_app import Workplace
from taskd.pools.base import Target
from taskd.pools.opening import AsyncTarget
from taskd.sending.app_table import AppTable
from taskd.sending.options import TaskOptions

_SIGNALS = {
    Stage.WORKER_READY: signals.worker_ready,
    Stage.WORKER_STOPPING: signals.worker_shutting_down,
    Stage.WORKER_STOPPED: signals.worker_shutdown,
}


class WorkingCelery:
    """A ``TaskApp``.  Made where the app is loaded: in the template, or in a worker without children.

    Raises: ``StartError``; and whatever the app's modules and receivers raise.
    """

    def __init__(self, app: Any, workplace: Workplace) -> None:
        self._app = app
        self._config = workplace.config
        self._table = workplace.table
        self._node_name = workplace.node_name
        self._has_children = workplace.has_children
        pool = workplace.config.workers[workplace.table].kind.name
        self._worker = WorkerStandIn(app, workplace.node_name, pool)
        start_worker(app, self._worker)
        heard = [stage for stage in WORKER_STAGES if self._has_children and _SIGNALS[stage].receivers]
        self._errands = {errand_of(stage): partial(self._send, stage) for stage in heard}
        self._records = HandedRecords(workplace.config.results)
        self._executor = partial(
            CeleryExecutor, app, workplace.node_name, self._errands, workplace.ledger, self._records
        )

    @property
    def soft_limit(self) -> type[Exception]:
        """The exception by which a task hears of its soft time limit: the one that Celery's tasks catch."""
        return SoftTimeLimitExceeded  # type: ignore[no-any-return]

    def table(self) -> AppTable:
        """Return the options of all tasks."""
        errands = [TaskOptions(name=name, time_limit=STAGE_LIMIT_S) for name in self._errands]
        refusals, warnings = told_by_worker(self._app, self._config, self._table)
        return AppTable(
            [*options_of(self._app), *errands],
            answers=True,
            refusals=refusals,
            warnings=warnings,
            settings=shown_settings(self._app),
            software=software_of(),
        )

    def run_stage(self, stage: Stage) -> None:
        """Send the signals of a stage."""
        match stage:
            case Stage.PROCESS_INIT:
                start_process(self._app, self._node_name, is_child=self._has_children)
            case Stage.PROCESS_SHUTDOWN:
                self._end_process()
            case _:
                self._send(stage)
        log.bring_back()

    def rehearse(self) -> bool:
        """Run a task that does nothing some times, by Celery's tracer."""
        return rehearse(self._app, self._node_name, self._records)

    def _end_process(self) -> None:
        tell = partial(
            signals.worker_process_shutdown.send, sender=self._node_name, pid=os.getpid(), exitcode=0
        )
        if self._has_children:
            leave_as_child(tell)
        else:
            tell()

    def _send(self, stage: Stage) -> None:
        if stage is Stage.WORKER_STOPPING:
            signals.worker_shutting_down.send(sender=self._node_name, sig="SIGTERM", how="Warm", exitcode=0)
        else:
            _SIGNALS[stage].send(sender=self._worker)

    def blocking(self) -> Target:
        """Return an executor for a process or a thread."""
        return self._executor()

    def green(self) -> Target:
        """Return an executor for greenlets, in which a task may wait for another's result."""
        _set_task_join_will_block(False)
        return self._executor()

    def awaitable(self) -> AsyncTarget:
        """Refuse.  Raises: ``StartError``."""
        kind = self._config.workers[self._table].kind
        raise StartError(f"{unable_to_run(kind)}; {other_pools()}")
