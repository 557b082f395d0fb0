"""Have the user's hooks hear of ends that the worker decides: on a slot of the pool, where user code may run.

A job without a message, with a time limit; its failure is logged and harms nothing.
"""

from __future__ import annotations

import logging
from itertools import count

from taskd.base.errors import PoolError
from taskd.consumer.context import Context, Shutdown
from taskd.consumer.settling.decided_ends import DecidedEnd
from taskd.pools.base import Done, Job, Outcome
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import encode_work
from taskd.sending.options import TaskOptions

logger = logging.getLogger(__name__)

#: How long all hooks of one end may take together.
LIMIT_S = 10.0
#: Tags of these jobs begin here; tags of hooks of the worker's life at 2**53.
_TAGS = count(2**54)


class Telling:
    """Tells the hooks of one worker's app.  For the loop's thread."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def tell(self, delivery: Delivery, options: TaskOptions, ending: DecidedEnd) -> None:
        """Have the hooks called with the end of a run as soon as a slot is free; does not wait."""
        context = self._context
        if not options.hears_ends:
            return
        tag = next(_TAGS)

        def ended(outcome: Outcome) -> None:
            if not isinstance(outcome, Done):
                how = type(outcome).__name__
                logger.error(
                    "task=%s id=%s hooks did not hear of its end: %s", options.name, ending.task_id, how
                )

        if context.shutdown is Shutdown.COLD:
            logger.warning(
                "task=%s id=%s hooks do not hear of its end any more", options.name, ending.task_id
            )
            return
        context.calls[tag] = ended
        payload = encode_work(delivery, ended=ending.record)
        try:
            context.pool.submit([Job(tag, payload, hard_limit_s=LIMIT_S)])
        except PoolError as error:
            del context.calls[tag]
            logger.error(
                "task=%s id=%s hooks did not hear of its end: %s", options.name, ending.task_id, error
            )
