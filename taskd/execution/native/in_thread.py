"""Plain functions on the asyncio pool: in a thread of the loop's executor, with the caller's context.

The soft time limit comes to the waiting coroutine as a cancellation and is handed on to the thread
as the exception itself, as far as CPython can (``taskd.pools.interrupt``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING

from taskd.base.errors import SoftTimeLimitExceeded
from taskd.execution.native.coroutines import meant_by
from taskd.pools.interrupt import JobAborted, forget_in_thread, raise_in_thread

if TYPE_CHECKING:
    import asyncio


class InThread:
    """One call in another thread, and how it ended: by ``value``, or by ``error`` if not None.

    The error is kept, not raised: some, such as ``StopIteration``, do not pass through a future.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self._call = call
        self._lock = threading.Lock()
        self._ident = 0
        self._interrupted_by: type[BaseException] | None = None
        self.value: object = None
        self.error: BaseException | None = None

    def run(self) -> None:
        """Make the call, in the other thread.

        Raises nothing but what ``interrupt`` asked for, when that comes after the call had ended.
        """
        with self._lock:
            self._ident = threading.get_ident()
            interrupted_by = self._interrupted_by
        try:
            if interrupted_by is not None:
                raise interrupted_by
            self.value = self._call()
        except BaseException as error:  # noqa: BLE001 - the task barrier of this thread
            self.error = error
        finally:
            self._leave()

    def _leave(self) -> None:
        while True:
            try:
                with self._lock:
                    # The interrupting thread holds the lock, so that nothing comes after this line.
                    forget_in_thread(self._ident)
                    self._ident = 0
            except (SoftTimeLimitExceeded, JobAborted):
                continue  # it came in the instant after the call had ended
            return

    def interrupt(self, error: type[BaseException]) -> None:
        """Have ``error`` raised in the call, or in its place if it has not begun."""
        with self._lock:
            self._interrupted_by = error
            if self._ident:
                raise_in_thread(self._ident, error)


async def run_in_thread(call: Callable[[], object]) -> InThread:
    """Make the call in the running loop's default executor and return how it ended.

    Raises: ``CancelledError`` when cancelled without the soft limit as its message, or once more after
    that: then nobody waits for the thread any more.
    """
    import asyncio

    job = InThread(call)
    loop = asyncio.get_running_loop()
    future = loop.run_in_executor(None, copy_context().run, job.run)
    try:
        await asyncio.wait([future])
    except asyncio.CancelledError as error:
        if not isinstance(meant_by(error), SoftTimeLimitExceeded):
            job.interrupt(JobAborted)  # it may help
            future.add_done_callback(_forget)
            raise
        job.interrupt(SoftTimeLimitExceeded)
        await asyncio.wait([future])
    job.error = job.error or future.exception()
    return job


def _forget(future: asyncio.Future[None]) -> None:
    """Look at the exception of a future that nobody waits for, or asyncio complains in the log."""
    if not future.cancelled():
        future.exception()
