"""Pool: the step that starts the pool; its slots become ready while the other steps start."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from taskd.app.life_hooks import Stage
from taskd.base.blueprint import Given, Step
from taskd.base.ids import node_name
from taskd.base.lifecycle import Deadline
from taskd.config.kinds import PoolTrait
from taskd.consumer.moments import RunLost
from taskd.consumer.running.errands import Errands
from taskd.consumer.running.outcomes import Outlet
from taskd.consumer.running.work import Work
from taskd.execution.ledger import Ledger
from taskd.host.priority import come_forward
from taskd.worker.foundations import Configuration, MomentsStep, Timer
from taskd.worker.ledger import LedgerStep
from taskd.worker.pool_events import PoolEvents
from taskd.worker.pools import MadePool, make_pool
from taskd.worker.program import WorkerProgram
from taskd.worker.reporting import Report
from taskd.worker.signals import Hub


@dataclass(frozen=True, slots=True)
class RunningPool:
    """The pool that was started, empty, and its ends."""

    work: Work
    events: PoolEvents
    outlet: Outlet
    run_stage: Callable[[Stage], None]
    set_log_level: Callable[[str], None]


class PoolStep(Step[RunningPool]):
    """Starts the pool."""

    name = "Pool"
    requires = (Timer, MomentsStep, Configuration, LedgerStep, Hub, Report)

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program
        self._made: MadePool | None = None

    def start(self, given: Given) -> RunningPool:
        """Start it.

        Raises: ``AppImportError`` when a pool that runs in place cannot import the user's code.
        """
        has_children = PoolTrait.CHILDREN in self._program.worker.kind.traits
        program = self._program
        loop = given[Timer]
        ledger = given[LedgerStep].ledger
        events = PoolEvents(given[Configuration], given[Hub].orders, given[Report].report)
        made = self._made = make_pool(program.worker, program.config, node_name(program.name), events, ledger)
        loop.take_signals_back()  # the import of the task code may have taken them
        if ledger is not None and has_children:
            given[MomentsStep].lost.subscribe(_forgetting(ledger))
        outlet = Outlet()
        made.pool.start(loop, outlet)
        # Before anything is opened that others wait for.  A template still imports and comes by itself.
        come_forward(with_descendants=not has_children)
        work = Work(made.pool, events.tasks, events.requests, Errands(made.pool), events.needs)
        return RunningPool(work, events, outlet, made.run_stage, made.set_log_level)

    def stop(self, deadline: Deadline) -> None:
        """Leave no slot behind."""
        if self._made is not None:
            if not self._made.pool.stopped:
                self._made.pool.kill()
            self._made.run_stage(Stage.PROCESS_SHUTDOWN)


def _forgetting(ledger: Ledger) -> Callable[[Sequence[RunLost]], None]:
    """Return what notes that tasks have ended with the children that ran them, which could not say so."""

    def forget(lost: Sequence[RunLost]) -> None:
        for each in lost:
            ledger.forget(each.request.headers.id)

    return forget
