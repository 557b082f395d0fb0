"""Run the inner blueprint, and run it again when the broker was lost.

A worker never exits because its broker is away: it waits with jittered backoff, while tasks go on
in the pool and their outcomes are kept.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.blueprint import Blueprint
from taskd.base.errors import BrokerError, LeaseLostError, StartError, StorageError
from taskd.base.lifecycle import Deadline
from taskd.base.urls import same_login, same_server
from taskd.config.kinds import BrokerCan, StoreCan
from taskd.consumer.claiming.selfcheck import NotConsumingError
from taskd.consumer.commands.control import Control
from taskd.consumer.connection import Connection
from taskd.consumer.context import Context, Shutdown
from taskd.consumer.evloop import Evloop
from taskd.consumer.heart import Heart
from taskd.consumer.neighbours.announcing import Announcer, Events
from taskd.consumer.neighbours.gossip import Gossip
from taskd.consumer.neighbours.mingle import Mingle
from taskd.consumer.request import Request
from taskd.consumer.running.outcomes import Outcomes
from taskd.consumer.running.shutdown_ladder import Ending
from taskd.consumer.settling.chords import Chords
from taskd.consumer.settling.settling import Settling
from taskd.consumer.tasks import Tasks
from taskd.pools.base import Running
from taskd.protocol.delivery import Requeue
from taskd.protocol.status import Waiting
from taskd.sending.options import TaskSettings

logger = logging.getLogger(__name__)

#: How long to stay away from a broker that failed; the first try comes soon.
RECONNECT = Backoff(base_s=0.1, max_s=10.0, floor_s=0.05)
#: A blueprint that ran this long was fine: the next failure is a new one.
_STABLE_S = 10.0


def _is_one_step(context: Context) -> bool:
    """Return whether the broker can write the results as it settles: both are kept by one server."""
    config = context.config
    return (
        BrokerCan.CARRY_RESULTS in context.broker.kind.can
        and StoreCan.GO_ALONG in config.result_kind.can
        and same_server(config.broker, config.results)
        and same_login(config.broker, config.results)
    )


class Consumer:
    """Owns the inner blueprint of one worker.  For the loop's thread; ``run`` blocks."""

    def __init__(self, context: Context) -> None:
        self._context = context
        context.on_shutdown = Ending(context).on_shutdown
        chords = Chords(context.chords, context.results, self._settings_of)
        self._settling = Settling(
            context.results,
            context.publisher,
            context.config.result_expires,
            chords,
            in_one_step=_is_one_step(context),
        )
        self.outcomes = Outcomes(context, self._settling)
        self._connection = Connection(context, self._settling)
        self._blueprint = Blueprint(
            "Consumer",
            [
                self._connection,
                Events(context),
                Heart(context),
                Mingle(context),
                Gossip(context),
                Tasks(context, self._settling, self.outcomes),
                Control(context, self.info),
                Evloop(context, self._settling),
            ],
        )

    def _settings_of(self, task: str) -> TaskSettings:
        """Return what the worker itself knows of a task that it sends: where it goes."""
        options = self._context.tasks.get(task)
        return TaskSettings(task, queue=options.queue) if options and options.queue else TaskSettings(task)

    def info(self) -> dict[str, object]:
        """Return the part of all steps in ``inspect stats``."""
        return {**self._context.worker_info(), **self._blueprint.info()}

    def run(self) -> None:
        """Consume until shutdown is requested and done; the pool is stopped by the caller."""
        failures = 0
        while self._context.shutdown is Shutdown.NONE or self._has_unsettled():
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
            except (BrokerError, StorageError) as error:
                failures = 1 if clock.monotonic() - started_at >= _STABLE_S else failures + 1
                self._wait(RECONNECT.delay_s(failures), error)
            else:
                self._blueprint.stop(Deadline.after(0.0))
                return

    def _has_unsettled(self) -> bool:
        return self._context.shutdown is Shutdown.WARM and (
            bool(self._settling) or self._context.pool.held > 0
        )

    def _wait(self, delay_s: float, error: Exception) -> None:
        """Turn the loop without a broker: outcomes are collected, heartbeats of the pool's life go on."""
        logger.error("not consuming, next try in %.1f s: %s", delay_s, error)
        self._context.report(Waiting(str(error)))
        until = clock.monotonic() + delay_s
        shutdown_before = self._context.shutdown
        while self._context.shutdown is shutdown_before:
            left_s = until - clock.monotonic()
            if left_s <= 0.0:
                return
            self._context.loop.run_once(left_s)

    def finish(self, running: Sequence[Running]) -> None:
        """Settle what is known and give everything else back; call it when the pool has ended.

        ``running``: what the pool was running before.
        """
        now, since = clock.monotonic(), {each.tag: each.since for each in running}
        unfinished = list(self._context.requests.items())
        self._context.requests.clear()
        self._say_goodbye([request for _, request in unfinished])
        for tag, request in unfinished:
            logger.warning(
                "task=%s id=%s unfinished at shutdown after running %.1f s; %s",
                request.headers.task,
                request.headers.id,
                now - since.get(tag, now),
                "lost: it was acknowledged early" if request.acks_early else "requeued",
            )
            if not request.acks_early and request.generation == self.outcomes.generation:
                self._settling.settle(Requeue(request.delivery.tag))
        if self._settling:
            self._flush_last()
        self._connection.close()

    def _say_goodbye(self, unfinished: Sequence[Request]) -> None:
        """Tell monitors which tasks are cut short, and that this worker is gone."""
        context = self._context
        dispatcher = context.dispatcher
        if dispatcher.on:
            for request in unfinished:
                if request.options.send_events:
                    context.task_events.cancelled(request.headers)
        dispatcher.connect(context.broker.event_sender())
        Announcer(context).offline()
        dispatcher.disconnect()

    def _flush_last(self) -> None:
        try:
            if self._connection.intake is not None:
                self._settling.flush(self._connection.intake)
        except (BrokerError, StorageError) as error:
            logger.error("outcomes=%d not settled, their tasks run again: %s", len(self._settling), error)
