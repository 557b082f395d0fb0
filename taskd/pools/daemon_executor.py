"""An executor for asyncio whose threads do not hold up the exit of the process.

``ThreadPoolExecutor`` joins its threads at exit, so that one call that never returns would keep the worker
for ever.  Its number of threads is fixed, too, whereas here the pool bounds the calls.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


class DaemonExecutor(ThreadPoolExecutor):
    """A thread for each call that finds none idle.  The base class is what asyncio demands, unused."""

    def __init__(self, name: str) -> None:
        super().__init__(max_workers=1)
        self._name = name
        self._work = threading.Condition()
        # Guarded by the condition: everything from here on.
        self._calls: deque[Callable[[], None]] = deque()
        self._idle = 0
        self._ended = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call ``fn`` in a thread."""
        future: Future[T] = Future()
        pid = os.getpid()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                try:
                    value = fn(*args, **kwargs)
                finally:
                    if os.getpid() != pid:
                        os._exit(0)  # a process that the call forked came back: nobody waits for it here
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits
                future.set_exception(error)
            else:
                future.set_result(value)

        with self._work:
            if self._ended:
                raise RuntimeError("the executor has ended and takes no new call")
            self._calls.append(call)
            if len(self._calls) <= self._idle:
                self._work.notify()
                return future
        threading.Thread(target=self._serve, name=self._name, daemon=True).start()
        return future

    def _serve(self) -> None:
        while True:
            with self._work:
                self._idle += 1
                while not self._calls and not self._ended:
                    self._work.wait()
                self._idle -= 1
                if not self._calls:
                    return
                call = self._calls.popleft()
            call()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the idle threads; the others end after their call and nobody waits for them."""
        with self._work:
            self._ended = True
            self._work.notify_all()
