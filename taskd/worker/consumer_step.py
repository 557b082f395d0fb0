"""Consumer: the step that runs the inner blueprint until the worker is told to end, then ends the pool."""

from __future__ import annotations

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.consumer.consumer import Consumer
from taskd.consumer.heart import BUSY_INTERVAL_S
from taskd.consumer.orders import Fatal, Orders, Shutdown
from taskd.consumer.parts import Parts
from taskd.consumer.voice import Voice
from taskd.pools.base import Pool
from taskd.worker.autoscale import Autoscaler
from taskd.worker.foundations import Configuration, Facts, MomentsStep, Timer
from taskd.worker.life import Life
from taskd.worker.policies import Limits
from taskd.worker.pool_step import PoolStep
from taskd.worker.program import WorkerProgram
from taskd.worker.reporting import Report
from taskd.worker.rereading import Rereading
from taskd.worker.signals import Hub
from taskd.worker.stages import PoolStages
from taskd.worker.stores import Queues

#: Killed slots are gone within this; then the worker leaves all the same.
_KILL_GRACE_S = 2.0


class ConsumerStep(Step[Fatal | None]):
    """Blocks in ``start`` for the life of the worker; provides why it could not go on, if it could not."""

    name = "Consumer"
    requires = (Timer, Facts, Configuration, Hub, MomentsStep, PoolStep, Limits, Queues, Report, Rereading)
    last = True

    def __init__(self, program: WorkerProgram) -> None:
        self._program = program

    def start(self, given: Given) -> Fatal | None:
        """Consume, then end the pool and settle the rest."""
        loop = given[Timer]
        orders = given[Hub].orders
        pool = given[PoolStep]
        work = pool.work
        moments = given[MomentsStep]
        consumer = Consumer(self._parts(given))
        pool.outlet.lead_to(consumer.outcomes.take)
        life = Life(moments, pool.run_stage, PoolStages(loop, orders, work))
        try:
            consumer.run()
        finally:
            life.stopping()
            life.before_the_pool_ends()
            running = work.pool.running()
            _end_pool(loop, orders, work.pool)
            consumer.finish(running)
            life.stopped()
        return orders.fatal

    def _parts(self, given: Given) -> Parts:
        loop = given[Timer]
        facts = given[Facts]
        live = given[Configuration]
        report = given[Report].report
        tells = live.worker.events
        return Parts(
            loop=loop,
            facts=facts,
            live=live,
            orders=given[Hub].orders,
            moments=given[MomentsStep],
            work=given[PoolStep].work,
            policy=given[Limits],
            backends=given[Queues],
            voice=Voice.of(loop, facts.node_name, report, tasks_enabled=tells),
            queues=self._program.worker.queues,
            autoscaler=given.get(Autoscaler),
            worker_info=given.info,
        )


def _end_pool(loop: Loop, orders: Orders, pool: Pool) -> None:
    """End the slots: softly when nothing runs, at once when tasks are to be given back."""
    if orders.shutdown is Shutdown.WARM and pool.held == 0:
        deadline = Deadline.after(_KILL_GRACE_S)
        pool.stop(deadline)
        while not pool.stopped and not deadline.passed and orders.shutdown is Shutdown.WARM:
            loop.run_once(min(deadline.remaining_s(), BUSY_INTERVAL_S))
    if not pool.stopped:
        pool.kill()
