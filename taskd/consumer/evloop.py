"""The last step: turns the loop until the worker is told to end, or the broker is lost.

One turn: call back what is ready, flush the outcomes that are worth a trip, claim and submit.
"""

from __future__ import annotations

import logging

from taskd.base import clock
from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, LoopTimer
from taskd.base.plural import counted
from taskd.consumer.connection import Connection
from taskd.consumer.moments import Moments
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.running.app_ends import AppEnds
from taskd.consumer.running.work import Work
from taskd.consumer.settling.flush import Flush
from taskd.consumer.settling.settling import LINGER_S, Settling
from taskd.consumer.tasks import Tasks, TasksGiven
from taskd.consumer.voice import Voice
from taskd.protocol.status import Draining, Ready

logger = logging.getLogger(__name__)


class Evloop(Step[None]):
    """Blocks in ``start`` for as long as the inner blueprint lives."""

    name = "Evloop"
    requires = (Connection, Tasks)
    last = True

    def __init__(
        self,
        loop: Loop,
        orders: Orders,
        work: Work,
        voice: Voice,
        moments: Moments,
        *,
        settling: Settling,
        flush: Flush,
        app_ends: AppEnds,
    ) -> None:
        self._loop = loop
        self._orders = orders
        self._work = work
        self._pool = work.pool
        self._voice = voice
        self._moments = moments
        self._settling = settling
        self._flush = flush
        self._app_ends = app_ends
        self._linger: LoopTimer | None = None
        self._announced = False

    def start(self, given: Given) -> None:
        """Run until shutdown.

        Raises: ``BackendError`` when the broker cannot be used now, and
        ``LeaseLostError`` after a takeover; the consumer decides what follows.
        """
        tasks = given[Tasks]
        self._announced = False  # a start that ended by an error is not stopped
        while self._orders.shutdown is Shutdown.NONE:
            self._turn(tasks)
        if self._orders.shutdown is Shutdown.WARM:
            self._drain(tasks)
        # Before the pool is killed: what has not begun must not count as lost with what has.
        tasks.intaking.quiet()

    def _turn(self, tasks: TasksGiven) -> None:
        settling = self._settling
        pool = self._pool
        if not self._announced and pool.ready:
            self._announced = True
            self._voice.report(Ready())
            self._moments.ready.publish(None)
        if settling.first_at:
            self._flush_if_due(tasks)
        tasks.intaking.turn()
        # With the pool idle again (solo runs in place) outcomes must not wait for an event.
        must_flush = bool(settling.first_at) and pool.held == 0
        self._loop.run_once(0.0 if must_flush else None)

    def _flush_if_due(self, tasks: TasksGiven) -> None:
        if self._settling.is_due(clock.monotonic(), idle=self._pool.held == 0):
            self._flush.send(tasks.intake)
        elif self._linger is None:
            self._linger = self._loop.call_later(LINGER_S, self._end_linger)

    def _end_linger(self) -> None:
        self._linger = None  # being woken was its purpose: the turn looks again

    def _drain(self, tasks: TasksGiven) -> None:
        """Finish what runs, answering remote control and heartbeats meanwhile."""
        tasks.intaking.quiet()
        tasks_left = len(self._work.requests)
        logger.info(
            "draining: %s%s", counted(tasks_left, "task still runs", "tasks still run"), self._waiting()
        )
        self._voice.report(Draining(tasks_left + len(self._app_ends)))
        self._moments.draining.publish(None)
        while self._orders.shutdown is Shutdown.WARM:
            if self._settling:
                self._flush.send(tasks.intake)
            if self._pool.held == 0 and not self._settling and not self._app_ends:
                self._moments.drained.publish(None)
                return
            self._loop.run_once()

    def _waiting(self) -> str:
        """Return what keeps a worker from its end whose tasks have run."""
        ends = len(self._app_ends)
        said = counted(ends, "end of a task waits", "ends of tasks wait")
        return f"; {said} for the app's result backend" if ends else ""

    def stop(self, deadline: Deadline) -> None:
        """Do nothing: a start that returns has ended everything."""
