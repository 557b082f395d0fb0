"""Tasks: the step that claims messages and feeds the pool."""

from __future__ import annotations

from dataclasses import dataclass

from taskd.base.blueprint import Given, Step
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.brokers.base import Intake
from taskd.consumer.claiming.admission import Admission
from taskd.consumer.claiming.intaking import Hold, Intaking
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.claiming.prefetch import target_held
from taskd.consumer.claiming.selfcheck import SelfCheck
from taskd.consumer.connection import Connection
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.consumer.neighbours.mingle import Mingle
from taskd.consumer.orders import Orders
from taskd.consumer.running.answering import Answering
from taskd.consumer.running.child_loss import Losses
from taskd.consumer.running.statistics import RunTimes, Tally
from taskd.consumer.running.work import Work
from taskd.consumer.settling.settling import Settling
from taskd.consumer.voice import Voice


@dataclass(frozen=True, slots=True)
class TasksGiven:
    """The running Tasks step: the inward half, and the claims that both halves work with."""

    intaking: Intaking
    intake: Intake


class Tasks(Step[TasksGiven]):
    """Claims messages and feeds the pool."""

    name = "Tasks"
    requires = (Connection, Mingle)

    def __init__(
        self,
        loop: Loop,
        live: LiveConfig,
        orders: Orders,
        work: Work,
        policy: Policy,
        *,
        voice: Voice,
        moments: Moments,
        tally: Tally,
        run_times: RunTimes,
        settling: Settling,
        answering: Answering,
        losses: Losses,
    ) -> None:
        self._loop = loop
        self._live = live
        self._orders = orders
        self._work = work
        self._policy = policy
        self._voice = voice
        self._moments = moments
        self._tally = tally
        self._run_times = run_times
        self._settling = settling
        self._answering = answering
        self._losses = losses
        self._running: TasksGiven | None = None

    def start(self, given: Given) -> TasksGiven:
        """Begin to watch the queues."""
        connected = given[Connection]
        intake = connected.intake
        work = self._work
        generation = connected.generation
        admission = Admission(
            self._live,
            work,
            self._policy,
            self._run_times,
            self._settling,
            answering=self._answering,
            losses=self._losses,
            generation=generation,
        )
        intaking = Intaking(
            self._loop,
            self._live,
            self._orders,
            work,
            self._moments,
            settling=self._settling,
            admission=admission,
            intake=intake,
            generation=generation,
            hold=given.get(Mingle) or Hold(),
            tally=self._tally,
            run_times=self._run_times,
            revoked=self._policy.revoked.known,
        )
        intaking.start()
        self._check = SelfCheck(
            self._loop, self._orders, work.pool, self._voice.report, intaking, depth=intake.depth
        )
        self._check.start()
        self._running = TasksGiven(intaking, intake)
        return self._running

    def quiet(self) -> None:
        """Claim nothing more."""
        if self._running is not None:
            self._running.intaking.quiet()

    def stop(self, deadline: Deadline) -> None:
        """Watch the queues no more."""
        if self._running is not None:
            self._running.intaking.stop()
            self._check.stop()
            self._running = None

    def info(self) -> dict[str, object]:
        """Return Celery's ``prefetch_count`` and ``total``, and how many of these have failed.

        The first is how many messages the worker may hold now, those that run included.
        """
        slots = self._work.pool.slots
        return {
            "prefetch_count": target_held(self._live.worker.prefetch, slots, self._run_times.mean_s),
            "total": dict(self._tally.totals),
            "failed": self._tally.failed,
        }
