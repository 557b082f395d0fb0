"""Claim a batch, decide about each message, submit what runs: the inward half of the worker.

``turn`` is called by the event loop after each round of callbacks; it claims when a claim is worth
its trip (``prefetch``) and when there may be something to claim.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from itertools import count

import msgspec

from taskd.base import clock
from taskd.base.errors import BrokerError, ProtocolError, StorageError
from taskd.base.exhaustive import assert_never
from taskd.base.loop import Timer
from taskd.brokers.intake import Intake
from taskd.config.kinds import PoolTrait
from taskd.consumer.claiming import strategy, suspects
from taskd.consumer.claiming.prefetch import claim_size, target_held
from taskd.consumer.claiming.stalling import StallWatch
from taskd.consumer.context import Context, Shutdown
from taskd.consumer.request import Request
from taskd.consumer.running.child_loss import after_child_lost, cause
from taskd.consumer.running.end_hooks import Telling
from taskd.consumer.settling import decided_ends
from taskd.consumer.settling.parking import park
from taskd.consumer.settling.settling import Settling
from taskd.pools.base import Cancelled, Job
from taskd.protocol.delivery import Ack, Dead, Delay, Delivery, Requeue
from taskd.protocol.execution import encode_work
from taskd.protocol.message import TaskHeaders
from taskd.protocol.protocol_1 import headers_from_body, is_protocol_1
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)

#: The safety net under the broker's wake-ups: look for messages this often all the same.
LOOK_ANYWAY_S = 1.0
#: Claims by one worker are never larger, so that one transaction stays short.
MAX_CLAIM = 512


class Intaking:
    """Feeds the pool from one intake.  For the loop's thread."""

    def __init__(self, context: Context, intake: Intake, settling: Settling, generation: int) -> None:
        self._context = context
        self._intake = intake
        self._settling = settling
        self._generation = generation
        self._telling = Telling(context)
        self._may_have_more = True
        self._quiet = False
        self._rests = False
        #: How many messages were claimed.
        self.claimed = 0
        self._due_timer: Timer | None = None
        self._look_timer: Timer | None = None
        self._stall = StallWatch(context, self._give_back_waiting)
        #: The process that died with a message is known: the child, not the worker with all that ran in it.
        self._counts_children = PoolTrait.CHILDREN in context.worker.kind.traits
        self._next_tag = count(max(context.requests, default=0) + 1)

    def start(self) -> None:
        """Watch the broker for messages."""
        self._context.loop.add_reader(self._intake.fileno(), self._on_wakeup)
        self._look_timer = self._context.loop.every(LOOK_ANYWAY_S, self._look_anyway)
        self._look_anyway()

    def quiet(self) -> None:
        """Claim nothing more; give back to the broker what the pool has not begun."""
        if self._quiet:
            return
        self._quiet = True
        self._give_back_waiting()

    def _rest(self) -> None:
        """Rest as long as the worker is quiet: others run what waits here; look anew afterwards."""
        if self._context.quiet and not self._rests:
            self._give_back_waiting()
        self._rests = self._context.quiet
        self._may_have_more = True

    def _give_back_waiting(self) -> None:
        """Return to the broker what the pool has not begun."""
        for tag in self._context.pool.recall():
            request = self._context.requests.pop(tag, None)
            if request is None:
                if (call := self._context.calls.pop(tag, None)) is not None:
                    call(Cancelled(tag, started=False))
                continue
            if request.acks_early:
                self._settling.publish(request.delivery.again())
            elif request.generation == self._generation:
                self._settling.settle(Requeue(request.delivery.tag, started=False))

    def stop(self) -> None:
        """Watch the broker no more."""
        self._context.loop.remove_reader(self._intake.fileno())
        self._stall.stop()
        for timer in (self._due_timer, self._look_timer):
            if timer is not None:
                timer.cancel()

    @property
    def claims(self) -> bool:
        """Whether it means to claim when there is something and room for it."""
        return not (self._quiet or self._rests or self._context.quiet or self._context.claims_held)

    def look(self) -> None:
        """Claim in the next turn if there is room: something may have arrived."""
        self._may_have_more = True

    def turn(self) -> None:
        """Claim and submit one batch if there is room and reason.  Never blocks on other work.

        Raises: ``LeaseLostError``, ``StorageError``, ``BrokerError``.
        """
        if self._context.quiet or self._rests:
            self._rest()
        if not self._may_have_more or self._quiet or self._rests:
            return
        pool = self._context.pool
        if self._context.shutdown is not Shutdown.NONE:
            return
        if not pool.ready or self._context.claims_held:
            return
        prefetch = 0 if self._stall.stalled else self._context.worker.prefetch
        slots = pool.slots
        target = target_held(prefetch, slots, self._context.run_times.mean_s)
        size = min(claim_size(pool.held, target, slots), MAX_CLAIM)
        if size == 0:
            return
        deliveries = self._intake.claim(size)
        if deliveries:
            self.claimed += len(deliveries)
            self._take(deliveries)
        if len(deliveries) < size:
            self._may_have_more = False
            self._watch_due()

    def _take(self, deliveries: Sequence[Delivery]) -> None:
        """Decide about each delivery and submit those that run, in one go."""
        now, monotonic = clock.now(), clock.monotonic()
        context = self._context
        accepted: dict[int, Request] = {}
        jobs: list[Job] = []
        again = any(request.generation != self._generation for request in context.requests.values())
        for delivery in deliveries:
            before = self._settling.mark()
            try:
                if (again or delivery.deliveries > 1) and self._runs_already(delivery):
                    continue
                request = self._admit(delivery, accepted, now, monotonic)
                if request is None:
                    continue
                tag = next(self._next_tag)
                jobs.append(self._job(tag, request))
            except Exception as error:  # noqa: BLE001 - the barrier of messages that come in
                self._settling.back_to(before)
                park(self._settling, delivery, error)
            else:
                accepted[tag] = request
        if accepted:
            self._acknowledge_early(accepted)
            context.requests.update(accepted)
            if context.dispatcher.on:
                context.task_events.received(accepted.values())
            context.pool.submit(jobs)
            self._stall.look()

    def _runs_already(self, delivery: Delivery) -> bool:
        """Hold a message that still runs here: its connection was cut, or its lease ended, and it came again.

        It is answered with the outcome of that run.
        """
        requests = self._context.requests.values()
        run = next((each for each in requests if each.is_run_of(delivery, self._generation)), None)
        if run is None:
            return False
        logger.info("task=%s id=%s came again while it runs here; held", run.headers.task, run.headers.id)
        if run.acks_early:
            self._settling.settle(Ack(delivery.tag))
        else:
            run.take_over(delivery, self._generation)
        return True

    def _admit(
        self, delivery: Delivery, accepted: Mapping[int, Request], now: float, monotonic: float
    ) -> Request | None:
        """Return what the pool is to be given of a delivery; None when it was settled without."""
        context = self._context
        if is_protocol_1(delivery.headers):
            delivery = self._of_protocol_2(delivery)
        verdict = strategy.decide(delivery, context.tasks, context.revoked, now)
        if type(verdict) is not strategy.Run:
            self._refuse(delivery, verdict)
            return None
        if (delivery.deaths or context.suspects) and self._suspected(delivery, verdict, accepted):
            return None
        wait_s = context.rates.wait_s(verdict.options, delivery.tag, monotonic)
        if wait_s:
            self._put_back(delivery, verdict.headers, now + wait_s)
            return None
        return Request(delivery, verdict.headers, verdict.options, self._generation)

    def _of_protocol_2(self, delivery: Delivery) -> Delivery:
        """Return a message of protocol 1 with headers; any other as it is, for the verdict to refuse it."""
        try:
            headers = headers_from_body(delivery.headers, delivery.body, delivery.content_type)
        except ProtocolError as error:
            logger.debug("queue=%s message is not of protocol 1: %s", delivery.queue, error)
            return delivery
        return msgspec.structs.replace(delivery, headers=headers)

    def _suspected(self, delivery: Delivery, verdict: strategy.Run, accepted: Mapping[int, Request]) -> bool:
        """Settle a message that ran when a whole worker died, or that waits for such a message."""
        context, headers = self._context, verdict.headers
        lost = context.suspects.take(delivery, headers.id)
        if lost is None:
            if self._takes_turns(delivery, [*context.requests.values(), *accepted.values()]):
                self._settling.settle(Delay(delivery.tag, clock.now() + suspects.WAIT_S))
                return True
            return False
        settlement = after_child_lost(delivery.tag, delivery.deaths, context.worker.max_deaths, lost)
        self._settling.settle(settlement)
        if isinstance(settlement, Dead):
            logger.error("task=%s id=%s dead-lettered: %s", headers.task, headers.id, settlement.reason)
            ending = decided_ends.child_lost(headers, cause(lost))
            self._answer(delivery, headers, ending)
            context.note_end(verdict.options, failed=True)
            self._telling.tell(delivery, verdict.options, ending)
        else:
            logger.warning(
                "task=%s id=%s was running when this worker died; requeued", headers.task, headers.id
            )
        return True

    def _takes_turns(self, delivery: Delivery, held: Sequence[Request]) -> bool:
        """Return whether a message with deaths on it has to wait until another such has ended."""
        if not self._counts_children:
            return suspects.must_wait(delivery, held)
        counted = self._context.suspects.was_counted
        return counted(delivery.task_id) and any(counted(request.headers.id) for request in held)

    def _acknowledge_early(self, accepted: Mapping[int, Request]) -> None:
        """Acknowledge what is to be acknowledged before it runs; this cannot wait for the next flush."""
        early = [Ack(request.delivery.tag) for request in accepted.values() if request.acks_early]
        if not early:
            return
        try:
            self._intake.settle(early)
        except (BrokerError, StorageError):
            for request in accepted.values():
                self._settling.settle(Requeue(request.delivery.tag, started=False))
            raise

    def _job(self, tag: int, request: Request) -> Job:
        delivery, headers, worker = request.delivery, request.headers, self._context.worker
        soft_s, hard_s = self._limits_of(request.options)
        return Job(
            tag,
            encode_work(delivery, headers),
            # A task that has killed a child before runs alone: no neighbour dies with it.
            0.0 if delivery.deaths else self._context.run_times.expected_s(headers.task),
            headers.soft_limit_s or soft_s or worker.soft_time_limit,
            headers.hard_limit_s or hard_s or worker.time_limit,
        )

    def _limits_of(self, options: TaskOptions) -> tuple[float, float]:
        given = self._context.time_limits
        if given and options.name in given:
            return given[options.name]
        return options.soft_time_limit, options.time_limit

    def _put_back(self, delivery: Delivery, headers: TaskHeaders, due_at: float) -> None:
        """Return a task that is over its rate limit until its time, or until it expires."""
        expires_at = headers.expires_at
        if expires_at is not None:
            due_at = min(due_at, expires_at)
        self._settling.settle(Delay(delivery.tag, due_at))

    def _refuse(
        self,
        delivery: Delivery,
        verdict: strategy.Run
        | strategy.Malformed
        | strategy.Unknown
        | strategy.Expired
        | strategy.Revoked
        | strategy.NotDue,
    ) -> None:
        """Settle a delivery that does not run; a waiting client is answered."""
        settling, tag = self._settling, delivery.tag
        match verdict:
            case strategy.Malformed(reason, known):
                logger.error("queue=%s message is not a task: %s; dead-lettered", delivery.queue, reason)
                settling.settle(Dead(tag, reason))
                if known is not None:
                    self._answer(delivery, known, decided_ends.malformed(known, reason))
            case strategy.Unknown(headers):
                reason = f'task "{headers.task}" is not registered in app "{self._app_name}"'
                logger.error("task=%s id=%s is not registered; dead-lettered", headers.task, headers.id)
                settling.settle(Dead(tag, reason))
                self._answer(delivery, headers, decided_ends.unknown(headers))
            case strategy.Expired(headers):
                logger.info("task=%s id=%s expired before it ran", headers.task, headers.id)
                settling.settle(Ack(tag))
                self._answer(delivery, headers, decided_ends.revoked(headers, "expired"), expired=True)
            case strategy.Revoked(headers):
                logger.info("task=%s id=%s is revoked and will not run", headers.task, headers.id)
                settling.settle(Ack(tag))
                self._answer(delivery, headers, decided_ends.revoked(headers, "revoked"))
            case strategy.NotDue(due_at):
                settling.settle(Delay(tag, due_at))
            case strategy.Run():
                raise AssertionError("a delivery that runs is not refused")
            case _:
                assert_never(verdict)

    @property
    def _app_name(self) -> str:
        return self._context.worker.app or self._context.config.app

    def _answer(
        self,
        delivery: Delivery,
        headers: TaskHeaders,
        ending: decided_ends.DecidedEnd,
        *,
        expired: bool = False,
    ) -> None:
        options = self._context.tasks.get(headers.task)
        if self._context.dispatcher.on and (options is None or options.send_events):
            self._context.task_events.ended(ending, expired=expired)
        after = decided_ends.aftermath(headers, delivery)
        self._settling.answer(ending, after, delivery, headers)
        self._settling.follow(after)

    # -- what may bring something to claim -----------------------------------------------------

    def _on_wakeup(self) -> None:
        self._intake.clear_wakeups()
        self._may_have_more = True

    def _look_anyway(self) -> None:
        self._may_have_more = True
        self._settling.recount()
        self._context.revoked.forget(clock.monotonic())

    def _watch_due(self) -> None:
        """Look again when the next delayed message becomes due."""
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        due_at = self._intake.next_due_at()
        if due_at is not None:
            # A wall-clock jump is caught by _look_anyway, at most a second late.
            wait_s = max(0.0, due_at - clock.now())
            self._due_timer = self._context.loop.call_later(wait_s, self.look)
