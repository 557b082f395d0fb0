"""The user's hooks of the worker's life on prefork: called on a slot of the pool, as the app's commands are.

The worker itself holds none of the user's code there.  A stage is a job without a message, with a time limit;
its failure is logged and harms nothing.
"""

from __future__ import annotations

import logging

from taskd.app.life_hooks import STAGE_LIMIT_S, Stage, errand_of
from taskd.base import clock
from taskd.base.errors import PoolError
from taskd.base.loop import Loop
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.running.errands import answer_of, call_payload
from taskd.consumer.running.work import Work
from taskd.pools.base import Outcome

logger = logging.getLogger(__name__)

#: The needs of the pool to start them, and to end a child that takes longer.
_GRACE_S = 2.0


class PoolStages:
    """Runs stages on a worker's pool; does nothing for those without hooks, and on other pools."""

    def __init__(self, loop: Loop, orders: Orders, work: Work) -> None:
        self._loop = loop
        self._orders = orders
        self._work = work
        self._open: set[object] = set()

    def begin(self, stage: Stage) -> None:
        """Have the hooks called as soon as a slot is free."""
        name = errand_of(stage)
        if name not in self._work.tasks or self._orders.shutdown is Shutdown.COLD:
            return
        token = object()

        def ended(outcome: Outcome) -> None:
            self._open.discard(token)
            answer = answer_of(outcome)
            if answer is not None:
                logger.error("%s hooks were not all called: %s", stage.value, answer)

        self._open.add(token)
        try:
            self._work.errands.run(call_payload(name, {}), STAGE_LIMIT_S, ended)
        except PoolError as error:
            self._open.discard(token)
            logger.error("%s hooks were not called: %s", stage.value, error)

    def finish(self, stage: Stage) -> None:
        """Have the hooks called after all that were begun before, and wait; a cold end waits no longer."""
        self._wait()
        self.begin(stage)
        self._wait()

    def _wait(self) -> None:
        until = clock.monotonic() + STAGE_LIMIT_S + _GRACE_S
        while self._open and self._orders.shutdown is Shutdown.WARM:
            left_s = until - clock.monotonic()
            if left_s <= 0.0:
                logger.error("hooks of the worker's end have not ended in time")
                self._open.clear()
                return
            self._loop.run_once(left_s)
