"""The gevent pool: jobs run in greenlets of the worker's one thread.

The process must have been patched before anything else was imported (``taskd.worker.gevent_entry``):
then a blocking call of the standard library, the worker's own loop included, lets the others run.

- Soft limit, hard limit and cancel are raised in the greenlet where it waits.  A job that computes,
  or waits in C code that gevent does not know, stops the whole worker and cannot be ended: the
  supervisor replaces a worker whose heartbeats stop.
- A job that swallows its end is given up.
- A job that ends the process ends the worker.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

import gevent
from gevent import monkey

from taskd.base.errors import SoftTimeLimitExceeded, StartError
from taskd.pools.base import Target
from taskd.pools.cooperative import CooperativePool, TakenSlot
from taskd.pools.interrupt import JobAborted
from taskd.pools.opening import OnReady, TargetForms
from taskd.pools.solo import run_in_place


class GeventPool(CooperativePool):
    """Runs jobs in greenlets.  See ``taskd.pools.base.Pool`` for the methods."""

    def __init__(
        self,
        capacity: int,
        target: Target,
        *,
        on_ready: Callable[[], None],
        soft_limit: type[Exception] = SoftTimeLimitExceeded,
    ) -> None:
        super().__init__(capacity, on_ready=on_ready)
        self._target = target
        self._soft_limit = soft_limit

    def _open(self) -> None:
        if not monkey.is_module_patched("selectors"):
            raise StartError(
                "the gevent pool needs a patched process: start it by python -m taskd.worker.gevent_entry"
            )
        #: Jobs begin in a copy of this, never of each other's.
        self._context = copy_context()

    def _rouse(self) -> None:
        self._begin()

    def _launch(self, slot: TakenSlot) -> object:
        return self._context.run(gevent.spawn, self._serve, slot)

    def _serve(self, slot: TakenSlot) -> None:
        self._finish(slot, run_in_place(self._target, slot.job))
        self._begin()

    def _interrupt(self, slot: TakenSlot, *, soft: bool) -> None:
        error = self._soft_limit(slot.why_softened) if soft else JobAborted()
        gevent.get_hub().loop.run_callback(self._throw, slot, error)

    @staticmethod
    def _throw(slot: TakenSlot, error: BaseException) -> None:
        """Raise in the greenlet of the slot.  In the hub, whose callbacks come in order: it has begun."""
        greenlet = slot.handle
        assert isinstance(greenlet, gevent.Greenlet)
        if not slot.ended:
            greenlet.throw(error)

    def _close(self) -> None:
        """Nothing is left to end: greenlets go with their jobs."""


def open_pool(capacity: int, work: TargetForms, on_ready: OnReady) -> GeventPool:
    """Return the pool, not started."""
    return GeventPool(capacity, work.green(), on_ready=on_ready, soft_limit=work.soft_limit)
