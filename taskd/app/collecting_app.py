"""The part of an App that waits for many tasks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, TypeVar, overload

from taskd.app.mapping import Mappable, calls_of, gather_chunks, sizes_of
from taskd.sending import collecting
from taskd.sending.calls import Call
from taskd.sending.collecting import Progress
from taskd.sending.connections import Connections
from taskd.sending.result import AsyncResult

R = TypeVar("R")
A = TypeVar("A")


class Collecting(ABC):
    """For ``App`` alone, which sends."""

    connections: Connections

    @abstractmethod
    def send_many(self, calls: Iterable[Call[R]]) -> list[AsyncResult[R]]:
        """Send calls, many in each write."""

    def wait_all(self, results: Sequence[AsyncResult[R]], timeout: float | None = None) -> list[R]:
        """Wait for all and return their values in order, or raise the first failure in that order.

        Raises: ``ResultTimeout`` when one did not end within ``timeout`` seconds.
        """
        for _ in self.as_completed(results, timeout):
            pass
        return [result.get(0) for result in results]

    def as_completed(
        self, results: Iterable[AsyncResult[R]], timeout: float | None = None
    ) -> Iterator[AsyncResult[R]]:
        """Yield each result as soon as its task has ended, well or not; ``result.get(0)`` returns at once.

        ``timeout``: seconds until all must have ended, the caller's own work between two of them included.
        A yielded result keeps its value, so after an error the rest can be asked for again.
        Raises: ``ResultTimeout``; ``StorageError`` when the store is away for more than ten seconds.
        """
        return collecting.as_completed(list(results), self.connections, timeout)

    @overload
    def gather(
        self,
        results: Iterable[AsyncResult[R]],
        *,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
        progress: Progress | None = None,
        bar: bool = False,
    ) -> list[R]: ...
    @overload
    def gather(
        self,
        results: Iterable[AsyncResult[R]],
        *,
        timeout: float | None = None,
        return_exceptions: Literal[True],
        progress: Progress | None = None,
        bar: bool = False,
    ) -> list[R | Exception]: ...
    def gather(
        self,
        results: Iterable[AsyncResult[R]],
        *,
        timeout: float | None = None,
        return_exceptions: bool = False,
        progress: Progress | None = None,
        bar: bool = False,
    ) -> list[Any]:
        """Return what the tasks returned, in order; the first failure that comes is raised at once.

        With ``return_exceptions`` each failure stands in its place, and nothing is raised for it.
        ``progress(done, total)`` is called after each arrival, in this thread; ``bar`` shows one on standard
        error.  ``timeout``: seconds for all.  Raises: as ``as_completed``, too.
        """
        given = list(results)
        with collecting.told(progress, "tasks", len(given), bar=bar) as tell:
            return collecting.gather(given, self.connections, timeout, tell, keep_failures=return_exceptions)

    async def agather(
        self, results: Iterable[AsyncResult[R]], *, timeout: float | None = None
    ) -> list[R | Exception]:
        """``gather`` with ``return_exceptions``, without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.gather, results, timeout=timeout, return_exceptions=True)

    @overload
    def map(
        self,
        task: Mappable[A, R],
        items: Iterable[A],
        *,
        chunk: int | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[False] = False,
        progress: Progress | None = None,
        bar: bool = False,
    ) -> list[R]: ...
    @overload
    def map(
        self,
        task: Mappable[A, R],
        items: Iterable[A],
        *,
        chunk: int | None = None,
        timeout: float | None = None,
        return_exceptions: Literal[True],
        progress: Progress | None = None,
        bar: bool = False,
    ) -> list[R | Exception]: ...
    def map(
        self,
        task: Mappable[A, R],
        items: Iterable[A],
        *,
        chunk: int | None = None,
        timeout: float | None = None,
        return_exceptions: bool = False,
        progress: Progress | None = None,
        bar: bool = False,
    ) -> list[Any]:
        """Run a task of one argument for each item, and return the values in the order of the items.

        Each item is a message; with ``chunk`` one message holds as many items, which a worker runs one after
        the other.  An item of a chunk is a plain call: it has no retries and no request of its own, and one
        that ends its process takes the chunk with it.  Everything is sent before the first wait.
        The other options are those of ``gather``.  After an error or an interrupt what was sent goes on.

        Raises: as ``Task.apply_async`` and ``gather``; ``ValueError`` for a ``chunk`` of a task that has
        options which hold for messages only.
        """
        given = list(items)
        with collecting.told(progress, getattr(task, "name", ""), len(given), bar=bar) as tell:
            calls = calls_of(task, given, chunk)
            results = self.send_many(calls)
            if chunk is None:
                return collecting.gather(
                    results, self.connections, timeout, tell, keep_failures=return_exceptions
                )
            return gather_chunks(
                results, sizes_of(calls), self.connections, timeout, tell, keep_failures=return_exceptions
            )
