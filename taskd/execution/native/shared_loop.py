"""One event loop for all ``async def`` tasks of a process whose threads are greenlets.

asyncio allows one running loop in each thread of the system, and all greenlets are in one: a loop for
each, as ``coroutines.py`` has it, would break as soon as two tasks run at once.  Here one green thread
runs the loop, and a task's own waits.  Built on ``threading`` alone, which is patched there.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from asyncio import events
from collections.abc import Coroutine
from contextvars import copy_context
from typing import Any


class _Selector(selectors.DefaultSelector):
    """Hides the loop that is running from the other greenlets while it waits.

    They can run loops of their own meanwhile: ``asyncio.run`` in a plain task.
    """

    _outside: asyncio.AbstractEventLoop | None = None

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as the base class does."""
        own = events._get_running_loop()
        events._set_running_loop(self._outside)
        try:
            return super().select(timeout)
        finally:
            self._outside = events._get_running_loop()
            events._set_running_loop(own)


class _Call:
    """One coroutine on its way through the loop; another thread waits until it is ``over``."""

    def __init__(self, coroutine: Coroutine[Any, Any, object]) -> None:
        self._coroutine = coroutine
        self._task: asyncio.Task[None] | None = None
        self.over = threading.Event()
        self.cancelled = False
        self.value: object = None
        self.error: BaseException | None = None

    def start(self) -> None:
        """Make it a task of the running loop, in the context of the call."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def _run(self) -> None:
        try:
            self.value = await self._coroutine
        except BaseException as error:  # noqa: BLE001 - it is raised where the task waits
            self.cancelled = isinstance(error, asyncio.CancelledError)
            self.error = error
        finally:
            self.over.set()

    def cancel(self) -> None:
        """Cancel it, in the loop."""
        if self._task is not None:
            self._task.cancel()


class SharedLoop:
    """Runs coroutines for any number of green threads; starts with the first of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None

    def run(self, coroutine: Coroutine[Any, Any, object]) -> object:
        """Run a coroutine to its end and return its value; blocks the calling green thread only.

        As in ``coroutines.run_coroutine`` an exception that is raised here while it waits reaches the
        coroutine as a cancellation: it may clean up, or even return a value.
        """
        loop = self._started()
        call = _Call(coroutine)
        loop.call_soon_threadsafe(call.start, context=copy_context())
        try:
            call.over.wait()
        except BaseException:
            loop.call_soon_threadsafe(call.cancel)
            call.over.wait()
            if call.cancelled:
                raise
        if call.error is not None:
            raise call.error
        return call.value

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.SelectorEventLoop(_Selector())
                threading.Thread(target=self._loop.run_forever, name="taskd-asyncio", daemon=True).start()
            return self._loop
