"""A worker in a thread of the test, for as long as a ``with`` block."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace
from types import TracebackType
from typing import TypeVar

from taskd.base.loop import Loop
from taskd.brokers.memory.broker import MemoryBroker
from taskd.config.built_in import MEMORY
from taskd.config.kinds import BrokerCan
from taskd.consumer.orders import Shutdown
from taskd.consumer.parts import Parts

T = TypeVar("T")
W = TypeVar("W", bound="WorkerThread")


class SharedBroker(MemoryBroker):
    """A broker that workers of several hosts could share, so that Mingle and Gossip take part."""

    kind = replace(MEMORY, can=MEMORY.can | {BrokerCan.SPAN_HOSTS})


class WorkerThread(ABC):
    """Runs from the begin of a ``with`` block, and is told to shut down at the end."""

    loop: Loop
    parts: Parts

    def __init__(self, name: str) -> None:
        self._thread = threading.Thread(target=self._run, name=name)

    @abstractmethod
    def _run(self) -> None:
        """Work until the shutdown."""

    def do(self, what: Callable[[], T]) -> T:
        """Do something in the worker's thread and return what came of it."""
        done = threading.Event()
        result: list[T] = []

        def call() -> None:
            result.append(what())
            done.set()

        self.loop.call_from_thread(call)
        assert done.wait(60)
        return result[0]

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self._thread.is_alive()

    def __enter__(self: W) -> W:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.loop.call_from_thread(lambda: self.parts.orders.request_shutdown(Shutdown.COLD))
        self._thread.join(60)
        assert not self._thread.is_alive()
