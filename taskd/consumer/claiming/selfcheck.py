"""Notices a worker that is connected and does not consume: messages wait beside idle slots.

``look`` decides and is pure.  Nothing claimed over ``PATIENCE_LOOKS`` looks, although at each there was
something to claim and a free slot, means that the intake is deaf or the loop has lost its timers.  Then the
inner blueprint starts anew.  No slot ready for as long is the pool's trouble, which a new start does not
cure: the supervisor is told.  Looks are counted, not seconds: a loop that a task has kept from turning, as on
solo, has not had its chance.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from taskd.base.errors import BrokerError
from taskd.base.loop import Loop, LoopTimer
from taskd.consumer.claiming.intaking import Intaking
from taskd.consumer.orders import Orders, Shutdown
from taskd.pools.base import Pool
from taskd.protocol.status import Ready, StatusLine, Waiting

logger = logging.getLogger(__name__)

LOOK_EVERY_S = 1.0
#: Several times what the safety net of the intake and a busy broker need.
PATIENCE_LOOKS = 10


class NotConsumingError(BrokerError):
    """There is work and room for it, and nothing is claimed."""


class Verdict(Enum):
    """The finding of one look."""

    FINE = "fine"
    #: Messages wait, and the pool has had no slot ready for too long.
    NO_SLOT = "no slot"
    #: Messages wait beside free slots, and nothing was claimed for too long.
    DEAF = "deaf"


@dataclass(frozen=True, slots=True)
class Sight:
    """The facts that a worker can see of itself at one moment."""

    #: Whether something was claimed since the last look.
    claimed: bool
    #: Whether the worker means to claim: it does not drain, rest, or wait for its neighbours.
    claims: bool
    #: Whether the pool says that its slots can run jobs.
    ready: bool
    #: Whether fewer jobs are held than there are slots.
    room: bool
    #: Messages that could be claimed.
    depth: int


def look(sight: Sight, in_vain: int) -> tuple[Verdict, int]:
    """Return the verdict, and how many looks in a row, this one included, have found work that nobody claims.

    ``in_vain``: what the last look returned.
    """
    if sight.claimed or not sight.claims or not sight.depth or (sight.ready and not sight.room):
        return Verdict.FINE, 0
    if in_vain + 1 < PATIENCE_LOOKS:
        return Verdict.FINE, in_vain + 1
    return (Verdict.DEAF if sight.ready else Verdict.NO_SLOT), in_vain + 1


class SelfCheck:
    """Looks at one worker at intervals.  For the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        orders: Orders,
        pool: Pool,
        report: Callable[[StatusLine], None],
        intaking: Intaking,
        *,
        depth: Callable[[], int],
    ) -> None:
        self._loop = loop
        self._orders = orders
        self._pool = pool
        self._report = report
        self._intaking = intaking
        self._depth = depth
        self._timer: LoopTimer | None = None
        self._in_vain = 0
        self._claimed = 0
        self._waiting = False

    def start(self) -> None:
        """Begin to look."""
        self._timer = self._loop.every(LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        verdict, self._in_vain = look(self._sight(), self._in_vain)
        if verdict is Verdict.DEAF:
            raise NotConsumingError(
                "connected but not consuming: messages wait beside free slots, and nothing is claimed"
            )
        if (verdict is Verdict.NO_SLOT) is not self._waiting:
            self._waiting = not self._waiting
            if self._waiting:
                logger.error("messages wait, and the pool has no slot ready")
            self._report(Waiting("the pool has no slot ready") if self._waiting else Ready())

    def _sight(self) -> Sight:
        pool = self._pool
        claimed, self._claimed = self._intaking.claimed != self._claimed, self._intaking.claimed
        claims = self._orders.shutdown is Shutdown.NONE and self._intaking.claims
        room = pool.held < pool.slots
        # Counting costs a read: only where the answer matters.
        asked = claims and not claimed and (room or not pool.ready)
        return Sight(claimed, claims, pool.ready, room, self._depth() if asked else 0)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
