"""Decide about each message of a claimed batch: the pool gets it, or it is settled without.

``strategy`` gives the verdict by the headers.  Here it is carried out, with what only this worker knows: what
runs already, which tasks are suspect, and what a limit holds back.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Sequence
from itertools import chain, count

from taskd.base import clock
from taskd.base.exhaustive import assert_never
from taskd.consumer.claiming import strategy
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.claiming.suspects import WAIT_S
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.answering import Answering
from taskd.consumer.running.child_loss import Losses
from taskd.consumer.running.statistics import RunTimes
from taskd.consumer.running.work import Work
from taskd.consumer.settling import decided_ends
from taskd.consumer.settling.settling import Settling
from taskd.pools.base import Job
from taskd.protocol.delivery import Ack, Dead, Delay, Delivery
from taskd.protocol.execution import Assignment, Cause, encode
from taskd.protocol.message import TaskHeaders
from taskd.protocol.protocol_1 import of_protocol_2
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)


class Admission:
    """Decides about the messages of one generation of claims.  For the loop's thread."""

    def __init__(
        self,
        live: LiveConfig,
        work: Work,
        policy: Policy,
        run_times: RunTimes,
        settling: Settling,
        *,
        answering: Answering,
        losses: Losses,
        generation: int,
    ) -> None:
        self._live = live
        self._work = work
        self._policy = policy
        self._revoked = policy.revoked.known
        self._suspects = policy.suspects
        self._run_times = run_times
        self._settling = settling
        self._answering = answering
        self._losses = losses
        self._generation = generation
        self._next_tag = count(max(work.requests, default=0) + 1)

    def admit(self, deliveries: Sequence[Delivery]) -> tuple[dict[int, WorkerRequest], Sequence[Job]]:
        """Return what the pool is to be given of a batch; the rest is settled."""
        now = clock.now()
        monotonic = clock.monotonic()
        accepted: dict[int, WorkerRequest] = {}
        jobs: list[Job] = []
        again = any(request.generation != self._generation for request in self._runs())
        for delivery in deliveries:
            before = self._settling.mark()
            try:
                if (again or delivery.deliveries > 1) and self._runs_already(delivery):
                    continue
                request = self._admit(delivery, accepted.values(), now, monotonic)
                if request is None:
                    continue
                tag = next(self._next_tag)
                jobs.append(self._job(tag, request))
            except Exception as error:  # noqa: BLE001 - the barrier of messages that come in
                self._settling.back_to(before)
                self._answering.park(delivery, error)
            else:
                accepted[tag] = request
        self._answering.tell()
        return accepted, jobs

    def _runs(self) -> Iterator[WorkerRequest]:
        """Yield what runs here, and what has run and is not answered yet."""
        return chain(self._work.requests.values(), self._answering.open_runs())

    def _runs_already(self, delivery: Delivery) -> bool:
        """Hold a message that still runs here: its connection was cut, or its lease ended, and it came again.

        It is answered with the outcome of that run.
        """
        run = next((each for each in self._runs() if each.is_run_of(delivery, self._generation)), None)
        if run is None:
            return False
        logger.info("task=%s id=%s came again while it runs here; held", run.headers.task, run.headers.id)
        if run.acks_early:
            self._settling.settle(Ack(delivery.tag))
        else:
            run.take_over(delivery, self._generation)
        return True

    def _admit(
        self, delivery: Delivery, accepted: Collection[WorkerRequest], now: float, monotonic: float
    ) -> WorkerRequest | None:
        """Return what the pool is to be given of a delivery; None when it was settled without."""
        delivery = of_protocol_2(delivery)
        verdict = strategy.decide(delivery, self._work.tasks, self._revoked, now)
        if not isinstance(verdict, strategy.Runnable):
            self._refuse(delivery, verdict)
            return None
        request = WorkerRequest(delivery, verdict.headers, verdict.options, self._generation)
        if (delivery.deaths or self._suspects) and self._is_suspect(request, accepted):
            return None
        wait_s = self._policy.rates.wait_s(verdict.options, delivery.tag, monotonic)
        if wait_s:
            self._put_back(delivery, verdict.headers, now + wait_s)
            return None
        return request

    def _is_suspect(self, request: WorkerRequest, accepted: Collection[WorkerRequest]) -> bool:
        """Settle a message during whose last run a whole worker died, or that waits for such a one."""
        delivery = request.delivery
        worker = self._live.worker
        lost = self._suspects.take(delivery, request.headers.id)
        if lost is not None:
            self._losses.take(request, lost, acknowledged=False)
            return True
        held = chain(self._work.requests.values(), accepted)
        if self._suspects.must_wait(request, held, worker.max_deaths):
            self._settling.settle(Delay(delivery.tag, clock.now() + WAIT_S))
            return True
        return False

    def _job(self, tag: int, request: WorkerRequest) -> Job:
        delivery = request.delivery
        headers = request.headers
        worker = self._live.worker
        soft_s, hard_s = self._limits_of(request.options)
        return Job(
            tag,
            encode(Assignment(delivery)),
            # A task that has killed a child before runs alone: no neighbour dies with it.
            0.0 if delivery.deaths else self._run_times.expected_s(headers.task),
            headers.soft_limit_s or soft_s or worker.soft_time_limit,
            headers.hard_limit_s or hard_s or worker.time_limit,
        )

    def _limits_of(self, options: TaskOptions) -> tuple[float, float]:
        given = self._policy.time_limits
        if given and options.name in given:
            return given[options.name]
        return options.soft_time_limit, options.time_limit

    def _put_back(self, delivery: Delivery, headers: TaskHeaders, due_at: float) -> None:
        """Return a task that is over its rate limit until its time, or until it expires."""
        expires_at = headers.expires_at
        if expires_at is not None:
            due_at = min(due_at, expires_at)
        self._settling.settle(Delay(delivery.tag, due_at))

    def _refuse(self, delivery: Delivery, verdict: strategy.Refusal) -> None:
        """Settle a delivery that does not run; a waiting client is answered."""
        answering = self._answering
        tag = delivery.tag
        match verdict:
            case strategy.Malformed(reason, known):
                logger.error("queue=%s message is not a task: %s; dead-lettered", delivery.queue, reason)
                if known is None:
                    self._settling.settle(Dead(tag, reason))
                else:
                    options = self._work.tasks.get(known.task)
                    end = decided_ends.malformed(known, reason)
                    answering.refuse(delivery, known, options, end, Dead(tag, reason))
            case strategy.Unknown(headers):
                reason = (
                    f'task "{headers.task}" is not registered in app "{self._live.app}"; have the app import '
                    "its module (Celery: imports or include), restart, and taskctl dlq requeue"
                )
                logger.error("task=%s id=%s is not registered; dead-lettered", headers.task, headers.id)
                answering.refuse(delivery, headers, None, decided_ends.unknown(headers), Dead(tag, reason))
            case strategy.Expired(headers):
                logger.info("task=%s id=%s expired before it ran", headers.task, headers.id)
                options = self._work.tasks.get(headers.task)
                end = decided_ends.revoked(headers, Cause.EXPIRED)
                answering.refuse(delivery, headers, options, end, Ack(tag))
            case strategy.Revoked(headers):
                logger.info("task=%s id=%s is revoked and will not run", headers.task, headers.id)
                options = self._work.tasks.get(headers.task)
                end = decided_ends.revoked(headers, Cause.REVOKED)
                answering.refuse(delivery, headers, options, end, Ack(tag))
            case strategy.NotDue(due_at):
                self._settling.settle(Delay(tag, due_at))
            case _:
                assert_never(verdict)
