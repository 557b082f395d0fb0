"""The eventlet pool: jobs run in green threads of the worker's one thread.

For code that is bound to eventlet; its own maintainers advise against new use.  The process must have
been patched before anything else was imported (``taskd.worker.eventlet_entry``).  Its abilities are
those of the gevent pool.
"""

from __future__ import annotations

from collections.abc import Callable
from contextvars import copy_context

import eventlet
from eventlet import hubs, patcher

from taskd.base.errors import SoftTimeLimitExceeded, StartError
from taskd.pools.base import Target
from taskd.pools.cooperative import CooperativePool, TakenSlot
from taskd.pools.interrupt import JobAborted
from taskd.pools.opening import OnReady, TargetForms
from taskd.pools.solo import run_in_place


class EventletPool(CooperativePool):
    """Runs jobs in green threads.  See ``taskd.pools.base.Pool`` for the methods."""

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
        if not patcher.is_monkey_patched("select"):
            raise StartError(
                "the eventlet pool needs a patched process: start it by python -m taskd.worker.eventlet_entry"
            )
        #: Jobs begin in a copy of this, never of each other's.
        self._context = copy_context()

    def _rouse(self) -> None:
        self._begin()

    def _launch(self, slot: TakenSlot) -> object:
        return eventlet.spawn(self._context.copy().run, self._serve, slot)

    def _serve(self, slot: TakenSlot) -> None:
        self._finish(slot, run_in_place(self._target, slot.job))
        self._begin()

    def _interrupt(self, slot: TakenSlot, *, soft: bool) -> None:
        error = self._soft_limit(slot.why_softened) if soft else JobAborted()
        hubs.get_hub().schedule_call_global(0, self._throw, slot, error)

    @staticmethod
    def _throw(slot: TakenSlot, error: BaseException) -> None:
        """Raise in the green thread of the slot.  In the hub, whose calls come in order: it has begun."""
        thread = slot.handle
        assert isinstance(thread, eventlet.greenthread.GreenThread)
        if not slot.ended:
            thread.throw(error)

    def _close(self) -> None:
        """Nothing is left to end: green threads go with their jobs."""


def open_pool(capacity: int, work: TargetForms, on_ready: OnReady) -> EventletPool:
    """Return the pool, not started."""
    return EventletPool(capacity, work.green(), on_ready=on_ready, soft_limit=work.soft_limit)
