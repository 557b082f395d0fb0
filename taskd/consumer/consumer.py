"""Run the inner blueprint, and run it again when the broker was lost.

A worker never exits because its broker is away: it waits with jittered backoff, while tasks go on
in the pool and their outcomes are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.blueprint import Blueprint, Step
from taskd.base.errors import BackendError, LeaseLostError, StartError
from taskd.base.lifecycle import Deadline
from taskd.base.urls import same_login, same_server
from taskd.brokers.base import Broker
from taskd.config.kinds import BrokerCan, StoreCan
from taskd.config.schema import Config
from taskd.consumer.claiming.selfcheck import NotConsumingError
from taskd.consumer.commands.control import Control
from taskd.consumer.commands.table import Subject
from taskd.consumer.connection import Connection
from taskd.consumer.evloop import Evloop
from taskd.consumer.heart import Heart
from taskd.consumer.moments import RunLost
from taskd.consumer.neighbours.announcing import Announcer, Events
from taskd.consumer.neighbours.gossip import Gossip
from taskd.consumer.neighbours.mingle import Mingle
from taskd.consumer.neighbours.task_events import TaskEvents
from taskd.consumer.orders import Shutdown
from taskd.consumer.parts import Parts
from taskd.consumer.request import Claims, WorkerRequest
from taskd.consumer.running.answering import Answering
from taskd.consumer.running.app_ends import AppEnds
from taskd.consumer.running.child_loss import Losses
from taskd.consumer.running.failing import Failing
from taskd.consumer.running.outcomes import Outcomes
from taskd.consumer.running.shutdown_ladder import ShutdownLadder
from taskd.consumer.running.start_watch import StartWatch
from taskd.consumer.running.statistics import RunTimes, Tally
from taskd.consumer.settling.chords import Chords
from taskd.consumer.settling.flush import Flush
from taskd.consumer.settling.settling import Settling
from taskd.consumer.tasks import Tasks
from taskd.pools.base import RunningJob
from taskd.protocol.delivery import Requeue
from taskd.protocol.status import Waiting
from taskd.sending.options import TaskSettings

logger = logging.getLogger(__name__)

#: How long to stay away from a broker that failed; the first try comes soon.
RECONNECT = Backoff(base_s=0.1, max_s=10.0, floor_s=0.05)
#: A blueprint that ran this long was fine: the next failure is a new one.
_STABLE_S = 10.0


class Consumer:
    """Owns the inner blueprint of one worker.  For the loop's thread; ``run`` blocks."""

    def __init__(self, parts: Parts) -> None:
        self._loop = parts.loop
        self._orders = parts.orders
        self._work = parts.work
        self._moments = parts.moments
        self._voice = parts.voice
        self._broker = parts.backends.broker
        self._claims = Claims()
        self._settling = Settling(parts.live.config.result_expires)
        self._flush = _flush(parts, self._settling)
        self._app_ends = AppEnds(parts.loop, parts.work, parts.orders)
        failing = Failing(parts.facts, parts.live, self._broker.kind, self._settling)
        answering = Answering(self._settling, self._claims, parts.moments, self._app_ends, failing)
        losses = Losses(parts.live, answering, failing)
        self.outcomes = Outcomes(
            parts.work,
            self._claims,
            self._settling,
            answering,
            losses,
            failing=failing,
            moments=parts.moments,
        )
        #: The runs that have ended here.
        self.tally = tally = Tally()
        run_times = RunTimes()
        parts.moments.ended.subscribe(run_times.hear)
        parts.moments.ended.subscribe(tally.hear)
        StartWatch(parts.loop, parts.work, parts.moments)
        TaskEvents(parts.voice.dispatcher, parts.moments)
        ShutdownLadder(parts.loop, parts.live, parts.work, parts.orders)
        self._announcer = Announcer(parts.voice.dispatcher, parts.work.pool, tally)
        self._connection = Connection(
            parts.facts,
            parts.live,
            self._broker,
            parts.queues,
            self._claims,
            work=parts.work,
            settling=self._settling,
            app_ends=self._app_ends,
            moments=parts.moments,
        )
        self._blueprint = Blueprint("Consumer", self._steps(parts, tally, run_times, answering, losses))

    def _steps(
        self, parts: Parts, tally: Tally, run_times: RunTimes, answering: Answering, losses: Losses
    ) -> Sequence[Step[Any]]:
        """Return the steps, each with the parts that it uses."""
        loop = parts.loop
        facts = parts.facts
        live = parts.live
        orders = parts.orders
        work = parts.work
        policy = parts.policy
        backends = parts.backends
        voice = parts.voice
        return [
            self._connection,
            Events(voice.dispatcher, backends.broker),
            Heart(
                loop,
                orders,
                work,
                tally,
                run_times,
                app_ends=self._app_ends,
                voice=voice,
                announcer=self._announcer,
            ),
            Mingle(loop, facts, live, backends, voice, revoked=policy.revoked),
            Gossip(loop, facts, live, backends, voice),
            Tasks(
                loop,
                live,
                orders,
                work,
                policy,
                voice=voice,
                moments=parts.moments,
                tally=tally,
                run_times=run_times,
                settling=self._settling,
                answering=answering,
                losses=losses,
            ),
            Control(self._subject(parts), parts.moments),
            Evloop(
                loop,
                orders,
                work,
                voice,
                parts.moments,
                settling=self._settling,
                flush=self._flush,
                app_ends=self._app_ends,
            ),
        ]

    def _subject(self, parts: Parts) -> Subject:
        return Subject(
            loop=parts.loop,
            facts=parts.facts,
            live=parts.live,
            orders=parts.orders,
            work=parts.work,
            app_ends=self._app_ends,
            policy=parts.policy,
            backends=parts.backends,
            voice=parts.voice,
            announcer=self._announcer,
            autoscaler=parts.autoscaler,
            worker_info=parts.worker_info,
        )

    @property
    def steps(self) -> Sequence[Step[Any]]:
        """The steps of the inner blueprint that take part."""
        return self._blueprint.steps

    def run(self) -> None:
        """Consume until shutdown is requested and done; the pool is stopped by the caller."""
        failures = 0
        while self._orders.shutdown is Shutdown.NONE or self._has_unsettled():
            started_at = clock.monotonic()
            try:
                self._blueprint.start()
            except LeaseLostError as error:
                logger.error("%s; claiming anew", error)
            except NotConsumingError as error:
                self._connection.distrust()
                self._wait(RECONNECT.delay_s(1), error)
            except StartError as error:
                # Nobody foresaw it, and no message is to blame: begin anew, with what runs in the pool.
                logger.error("a step of the worker failed", exc_info=error)
                failures += 1
                self._wait(RECONNECT.delay_s(failures), error)
            except BackendError as error:
                failures = 1 if clock.monotonic() - started_at >= _STABLE_S else failures + 1
                if self._moments.broker_lost.heard_by:
                    self._moments.broker_lost.publish(error)
                self._wait(RECONNECT.delay_s(failures), error)
            else:
                self._blueprint.stop(Deadline.after(0.0))
                return

    def _has_unsettled(self) -> bool:
        return self._orders.shutdown is Shutdown.WARM and (
            bool(self._settling) or bool(self._app_ends) or self._work.pool.held > 0
        )

    def _wait(self, delay_s: float, error: Exception) -> None:
        """Turn the loop without a broker: outcomes are collected, heartbeats of the pool's life go on."""
        logger.error("not consuming, next try in %.1f s: %s", delay_s, error)
        self._voice.report(Waiting(str(error)))
        until = clock.monotonic() + delay_s
        shutdown_before = self._orders.shutdown
        while self._orders.shutdown is shutdown_before:
            left_s = until - clock.monotonic()
            if left_s <= 0.0:
                return
            self._loop.run_once(left_s)

    def finish(self, running: Sequence[RunningJob]) -> None:
        """Settle what is known and give everything else back; call it when the pool has ended.

        ``running``: what the pool was running before.
        """
        now = clock.monotonic()
        since = {each.tag: each.since for each in running}
        unfinished = list(self._work.requests.items())
        self._work.requests.clear()
        self._say_goodbye([request for _, request in unfinished])
        for tag, request in unfinished:
            logger.warning(
                "task=%s id=%s unfinished at shutdown after running %.1f s; %s",
                request.headers.task,
                request.headers.id,
                now - since.get(tag, now),
                "lost: it was acknowledged early" if request.acks_early else "requeued",
            )
            if not request.acks_early and request.generation == self._claims.generation:
                self._settling.settle(Requeue(request.delivery.tag))
        self._app_ends.give_back()
        if self._settling:
            self._flush_last()
        self._connection.close()

    def _say_goodbye(self, unfinished: Sequence[WorkerRequest]) -> None:
        """Tell subscribers which tasks are cut short, and monitors that this worker is gone."""
        dispatcher = self._voice.dispatcher
        if unfinished:
            self._moments.lost.publish([RunLost(request, None) for request in unfinished])
        dispatcher.connect(self._broker.event_sender())
        self._announcer.offline()
        dispatcher.disconnect()

    def _flush_last(self) -> None:
        try:
            if self._connection.intake is not None:
                self._flush.send(self._connection.intake)
        except BackendError as error:
            logger.error("outcomes=%d not settled, their tasks run again: %s", len(self._settling), error)


def _flush(parts: Parts, queues: Settling) -> Flush:
    """Return the way out of a worker."""
    backends = parts.backends
    config = parts.live.config
    tasks = parts.work.tasks

    def settings_of(task: str) -> TaskSettings:
        """Return what the worker itself knows of a task that it sends: where it goes."""
        options = tasks.get(task)
        return TaskSettings(task, queue=options.queue) if options and options.queue else TaskSettings(task)

    return Flush(
        queues,
        backends.results,
        backends.publisher,
        Chords(backends.chords, backends.results, settings_of),
        parts.moments.settled,
        in_one_step=_is_one_step(backends.broker, config),
    )


def _is_one_step(broker: Broker, config: Config) -> bool:
    """Return whether the broker can write the results as it settles: both are kept by one server."""
    return (
        BrokerCan.CARRY_RESULTS in broker.kind.can
        and StoreCan.GO_ALONG in config.result_kind.can
        and same_server(config.broker, config.results)
        and same_login(config.broker, config.results)
    )
