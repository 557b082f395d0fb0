"""The asyncio pool: jobs are coroutines, all in one event loop in one thread of the worker.

The worker's own loop stays in the main thread, so that a job that blocks stops the other jobs but
neither heartbeats nor remote control.

- Soft limit: the job's task is cancelled with ``SoftTimeLimitExceeded`` as the message.
- Hard limit and cancel: the task is cancelled.  One that swallows that is given up.
- A job that never awaits cannot be ended.  It is given up too, and so is its thread: a new one
  begins what waits, while the jobs beside it go on when it lets them.
- A job that ends the process ends the worker.

asyncio costs 50 ms and 6 MB; import this module only for a worker that has this pool.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import traceback
from collections.abc import Callable
from contextvars import copy_context
from functools import partial
from typing import NamedTuple

from taskd.base import clock
from taskd.base.errors import SoftTimeLimitExceeded
from taskd.pools.base import Broken, Done, Job, Outcome
from taskd.pools.cooperative import CooperativePool, TakenSlot
from taskd.pools.daemon_executor import DaemonExecutor
from taskd.pools.interrupt import ABORTED
from taskd.pools.opening import AsyncTarget, OnReady, TargetForms

logger = logging.getLogger(__name__)


#: How long what jobs left in the background may take to end with the pool.
_TIDY_S = 1.0


class _Lane:
    """One event loop in one thread.  Fields belong to that thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(DaemonExecutor("taskd-sync"))
        self.tasks: set[asyncio.Task[None]] = set()
        #: Takes no new job, and ends with its last one.
        self.retired = False
        #: Jobs begin in a copy of this, never of each other's.
        self.context = copy_context()
        thread = threading.Thread(target=self._serve, name="taskd-asyncio", daemon=True)
        thread.start()
        self.ident = thread.ident

    def _serve(self) -> None:
        asyncio.set_event_loop(self.loop)
        while not (self.retired and not self.tasks):
            try:
                self.loop.run_forever()
            except BaseException:
                # SystemExit of what a job left in the background comes out here; the loop can go on.
                logger.exception(
                    "a background task of a job ended with an exception that is not an Exception"
                )
        try:
            self._tidy()
        finally:
            self.loop.close()

    def _tidy(self) -> None:
        left = asyncio.all_tasks(self.loop)
        for task in left:
            task.cancel(ABORTED)
        if left:
            self.loop.run_until_complete(asyncio.wait(left, timeout=_TIDY_S))
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())

    def call(self, callback: Callable[[], object]) -> None:
        """Call back in the lane's thread; does nothing when the lane has ended."""
        try:
            self.loop.call_soon_threadsafe(callback)
        except RuntimeError:
            pass  # closed

    def retire(self) -> None:
        """End with the last job.  In the lane's thread."""
        self.retired = True
        self.leave(None)

    def leave(self, task: asyncio.Task[None] | None) -> None:
        """Note that a job has ended.  In the lane's thread."""
        if task is not None:
            self.tasks.discard(task)
        if self.retired and not self.tasks:
            self.loop.stop()


class _Handle(NamedTuple):
    lane: _Lane
    task: asyncio.Task[None]


def _handle(slot: TakenSlot) -> _Handle:
    assert isinstance(slot.handle, _Handle)
    return slot.handle


class AsyncioPool(CooperativePool):
    """Runs jobs as tasks of asyncio.  See ``taskd.pools.base.Pool`` for the methods."""

    def __init__(self, capacity: int, target: AsyncTarget, *, on_ready: Callable[[], None]) -> None:
        super().__init__(capacity, on_ready=on_ready)
        self._target = target
        self._pid = os.getpid()

    def _open(self) -> None:
        self._lane = _Lane()

    def _rouse(self) -> None:
        self._lane.call(self._begin)

    def _may_begin(self) -> bool:
        return threading.get_ident() == self._lane.ident

    def _launch(self, slot: TakenSlot) -> object:
        lane = self._lane
        task = lane.context.run(lane.loop.create_task, self._run(lane, slot))
        lane.tasks.add(task)
        task.add_done_callback(lane.leave)
        return _Handle(lane, task)

    async def _run(self, lane: _Lane, slot: TakenSlot) -> None:
        outcome = await self._outcome(slot.job)
        self._finish(slot, outcome)
        if lane is self._lane:
            self._begin()
        else:
            self._rouse()

    async def _outcome(self, job: Job) -> Outcome:
        begun = clock.monotonic()
        try:
            reply = await self._target(job.payload)
        except BaseException as error:  # noqa: BLE001 - SystemExit of a job must not end the loop either
            return Broken(job.tag, f"{traceback.format_exc()}{error!r}")
        finally:
            if os.getpid() != self._pid:
                os._exit(0)  # a process that the job forked came back: it must not go on as a second worker
        if type(reply) is not bytes:
            return Broken(job.tag, f"the target returned {type(reply).__name__}, expected bytes")
        return Done(job.tag, reply, clock.monotonic() - begun)

    def _interrupt(self, slot: TakenSlot, *, soft: bool) -> None:
        lane, task = _handle(slot)
        lane.call(partial(self._cancel, slot, task, soft=soft))

    @staticmethod
    def _cancel(slot: TakenSlot, task: asyncio.Task[None], *, soft: bool) -> None:
        if slot.ended:
            return
        if soft:
            task.cancel(SoftTimeLimitExceeded(slot.why_softened))
        else:
            slot.heard = True
            task.cancel(ABORTED)

    def _gave_up(self, slot: TakenSlot) -> None:
        lane = _handle(slot).lane
        if not slot.heard and lane is self._lane:
            logger.warning("a job blocks the event loop of the asyncio pool; a new one takes over")
            lane.call(lane.retire)
            self._lane = _Lane()

    def _close(self) -> None:
        self._lane.call(self._lane.retire)


def open_pool(capacity: int, work: TargetForms, on_ready: OnReady) -> AsyncioPool:
    """Return the pool, not started."""
    return AsyncioPool(capacity, work.awaitable(), on_ready=on_ready)
