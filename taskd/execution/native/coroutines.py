"""Run the coroutines of ``async def`` tasks: one event loop for each thread, kept between tasks.

A kept loop lets tasks share what belongs to a loop, such as a pool of connections.  Background work that a
task starts stays there, and goes on when the thread runs its next coroutine.  asyncio is
imported by the first coroutine, so that a worker without any does not pay for it.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any, cast

from taskd.base.errors import SoftTimeLimitExceeded

if TYPE_CHECKING:
    import asyncio


class _Loop:
    """The event loop of one thread; closed when the thread ends and its locals are dropped."""

    def __init__(self) -> None:
        import asyncio

        self.loop = asyncio.new_event_loop()
        # At the interpreter's end, too: a finalizer of the object itself may come when asyncio is gone.
        weakref.finalize(self, _close, self.loop)


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Close a loop, unless it is running: then the process is going down inside a task."""
    if not loop.is_running():
        loop.close()


class _Local(threading.local):
    kept: _Loop | None = None


_local = _Local()


def run_coroutine(coroutine: Coroutine[Any, Any, object]) -> object:
    """Run a coroutine to its end in this thread's event loop and return its value.

    An exception that a signal or another thread raises while the loop waits (the soft time limit)
    reaches the coroutine as a cancellation: it may clean up, or even return a value.  Otherwise that
    exception is raised here.
    """
    kept = _local.kept
    if kept is None:
        kept = _local.kept = _Loop()
    loop = kept.loop
    task = cast("asyncio.Task[object]", loop.create_task(coroutine))
    try:
        return loop.run_until_complete(task)
    except BaseException as error:
        if task.done():
            raise
        return _cancel(loop, task, error)


def _cancel(loop: asyncio.AbstractEventLoop, task: asyncio.Task[object], error: BaseException) -> object:
    task.cancel()
    loop.run_until_complete(_ended(task))
    if task.cancelled():
        raise error
    return task.result()


async def _ended(task: asyncio.Task[object]) -> None:
    import asyncio

    await asyncio.wait([task])


def meant_by(error: BaseException) -> BaseException:
    """Return the exception that a cancellation carries as its message; any other one as it is.

    The one in sight may be a later one without message, raised where the first was caught.
    """
    seen: BaseException | None = error
    while seen is not None and type(seen).__name__ == "CancelledError":
        reason = seen.args[0] if seen.args else None
        if isinstance(reason, SoftTimeLimitExceeded):
            return reason.with_traceback(error.__traceback__)
        seen = seen.__cause__ or seen.__context__
    return error
