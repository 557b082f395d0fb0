"""Claim a batch when there is room and reason, and feed it to the pool: the inward half of the worker.

``turn`` is called by the event loop after each round of callbacks; it claims when a claim is worth
its trip (``prefetch``) and when there may be something to claim.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

from taskd.base import clock
from taskd.base.errors import BackendError
from taskd.base.loop import Loop, LoopTimer
from taskd.brokers.base import Intake
from taskd.consumer.claiming.admission import Admission
from taskd.consumer.claiming.prefetch import claim_size, target_held
from taskd.consumer.claiming.stalling import StallWatch
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.statistics import RunTimes, Tally
from taskd.consumer.running.work import Work
from taskd.consumer.settling.settling import Settling
from taskd.protocol.delivery import Ack, Delivery, Requeue
from taskd.revocations.known import Revocations

logger = logging.getLogger(__name__)

#: The safety net under the broker's wake-ups: look for messages this often all the same.
LOOK_ANYWAY_S = 1.0
#: Claims by one worker are never larger, so that one transaction stays short.
MAX_CLAIM = 512


class Hold:
    """Whether claims are held for a moment, while neighbours are asked what must not run.

    Mingle alone holds them and lets go.
    """

    __slots__ = ("is_on",)

    def __init__(self) -> None:
        self.is_on = False

    def set(self) -> None:
        """Claim nothing."""
        self.is_on = True

    def let_go(self) -> None:
        """Claim again."""
        self.is_on = False


class Intaking:
    """Feeds the pool from one intake.  For the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        live: LiveConfig,
        orders: Orders,
        work: Work,
        moments: Moments,
        *,
        settling: Settling,
        admission: Admission,
        intake: Intake,
        generation: int,
        hold: Hold,
        tally: Tally,
        run_times: RunTimes,
        revoked: Revocations,
    ) -> None:
        self._loop = loop
        self._live = live
        self._orders = orders
        self._work = work
        self._moments = moments
        self._settling = settling
        self._admission = admission
        self._intake = intake
        self._generation = generation
        self._hold = hold
        self._run_times = run_times
        self._revoked = revoked
        self._may_have_more = True
        self._quiet = False
        self._rests = False
        #: How many messages were claimed.
        self.claimed = 0
        self._due_timer: LoopTimer | None = None
        self._look_timer: LoopTimer | None = None
        self._stall = StallWatch(loop, live, work.pool, tally, run_times, give_back=self._give_back_waiting)

    def start(self) -> None:
        """Watch the broker for messages."""
        self._loop.add_reader(self._intake.fileno(), self._on_wakeup)
        self._look_timer = self._loop.every(LOOK_ANYWAY_S, self._look_anyway)
        self._look_anyway()

    def quiet(self) -> None:
        """Claim nothing more; give back to the broker what the pool has not begun."""
        if self._quiet:
            return
        self._quiet = True
        self._give_back_waiting()

    def _rest(self) -> None:
        """Rest as long as the worker is quiet: others run what waits here; look anew afterwards."""
        if self._orders.quiet and not self._rests:
            self._give_back_waiting()
        self._rests = self._orders.quiet
        self._may_have_more = True

    def _give_back_waiting(self) -> None:
        """Return to the broker what the pool has not begun."""
        for request in self._work.take_back():
            if request.acks_early:
                self._settling.publish(request.delivery.again())
            elif request.generation == self._generation:
                self._settling.settle(Requeue(request.delivery.tag, started=False))

    def stop(self) -> None:
        """Watch the broker no more."""
        self._loop.remove_reader(self._intake.fileno())
        self._stall.stop()
        for timer in (self._due_timer, self._look_timer):
            if timer is not None:
                timer.cancel()

    @property
    def claims(self) -> bool:
        """Whether it means to claim when there is something and room for it."""
        return not (self._quiet or self._rests or self._orders.quiet or self._hold.is_on)

    def look(self) -> None:
        """Claim in the next turn if there is room: something may have arrived."""
        self._may_have_more = True

    def turn(self) -> None:
        """Claim and submit one batch if there is room and reason.  Never blocks on other work.

        Raises: ``LeaseLostError``, ``BackendError``.
        """
        orders = self._orders
        if orders.quiet or self._rests:
            self._rest()
        if not self._may_have_more or self._quiet or self._rests:
            return
        if orders.shutdown is not Shutdown.NONE:
            return
        pool = self._work.pool
        if not pool.ready or self._hold.is_on:
            return
        prefetch = 0 if self._stall.stalled else self._live.worker.prefetch
        slots = pool.slots
        target = target_held(prefetch, slots, self._run_times.mean_s)
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
        """Submit those of a batch that run, in one go."""
        accepted, jobs = self._admission.admit(deliveries)
        if accepted:
            requests = accepted.values()
            self._acknowledge_early(requests)
            self._work.requests.update(accepted)
            if self._moments.received.heard_by:
                self._moments.received.publish(list(requests))
            self._work.pool.submit(jobs)
            self._stall.look()

    def _acknowledge_early(self, accepted: Collection[WorkerRequest]) -> None:
        """Acknowledge what is to be acknowledged before it runs; this cannot wait for the next flush."""
        early = [Ack(request.delivery.tag) for request in accepted if request.acks_early]
        if not early:
            return
        try:
            self._intake.settle(early)
        except BackendError:
            for request in accepted:
                self._settling.settle(Requeue(request.delivery.tag, started=False))
            raise

    # -- what may bring something to claim -----------------------------------------------------

    def _on_wakeup(self) -> None:
        self._intake.clear_wakeups()
        self._may_have_more = True

    def _look_anyway(self) -> None:
        self._may_have_more = True
        self._settling.recount()
        self._revoked.forget(clock.monotonic())

    def _watch_due(self) -> None:
        """Look again when the next delayed message becomes due."""
        if self._due_timer is not None:
            self._due_timer.cancel()
            self._due_timer = None
        due_at = self._intake.next_due_at()
        if due_at is not None:
            # A wall-clock jump is caught by _look_anyway, at most a second late.
            wait_s = max(0.0, due_at - clock.now())
            self._due_timer = self._loop.call_later(wait_s, self.look)
