"""Have the user's hooks hear of ends that the worker decides: on a slot of the pool, where user code may run.

The failure of such an errand is logged and harms nothing.
"""

from __future__ import annotations

import logging

from taskd.base.errors import PoolError
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.running.errands import Errands
from taskd.consumer.settling.decided_ends import DecidedEnd
from taskd.pools.base import Done, Outcome
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, encode
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)

#: How long all hooks of one end may take together.
LIMIT_S = 10.0


class EndHooks:
    """Tells the hooks of one worker's app.  For the loop's thread."""

    def __init__(self, errands: Errands, orders: Orders) -> None:
        self._errands = errands
        self._orders = orders

    def tell(self, delivery: Delivery, options: TaskOptions, end: DecidedEnd) -> None:
        """Have the hooks called with the end of a run as soon as a slot is free; does not wait."""
        if not options.hears_ends:
            return

        def failed(how: object) -> None:
            logger.error("task=%s id=%s hooks did not hear of its end: %s", options.name, end.task_id, how)

        def ended(outcome: Outcome) -> None:
            if not isinstance(outcome, Done):
                failed(type(outcome).__name__)

        if self._orders.shutdown is Shutdown.COLD:
            logger.warning("task=%s id=%s hooks do not hear of its end any more", options.name, end.task_id)
            return
        try:
            self._errands.run(encode(Assignment(delivery, end.record)), LIMIT_S, ended)
        except PoolError as error:
            failed(error)
