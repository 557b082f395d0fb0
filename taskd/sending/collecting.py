"""Collecting what many tasks return: by arrival, in order, with failures as values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import TypeVar

from taskd.base.errors import ProtocolError
from taskd.sending.bar import progress_bar
from taskd.sending.connections import Connections
from taskd.sending.result import AsyncResult, ResultTimeout, deadline_of

T = TypeVar("T")

#: Told after each arrival how many have ended, and of how many.
Progress = Callable[[int, int], None]


def as_completed(
    results: Sequence[AsyncResult[T]], connections: Connections, timeout: float | None
) -> Iterator[AsyncResult[T]]:
    """Yield each result when its task has ended, well or not.  Raises: as ``App.as_completed``."""
    deadline = deadline_of(timeout)
    waiting: dict[str, list[AsyncResult[T]]] = {}
    ended: list[AsyncResult[T]] = []
    for result in results:
        if not isinstance(result, AsyncResult):
            raise TypeError(f"{result!r:.80} is not a result; expected what delay or app.result(id) returned")
        result.check_kept()
        if result.is_taken:
            ended.append(result)
        else:
            waiting.setdefault(result.id, []).append(result)
    yield from ended
    if not waiting:
        return
    collector = connections.results().collect(waiting)
    try:
        while waiting:
            found = collector.next(deadline)
            if not found:
                late = sum(map(len, waiting.values()))
                first = next(iter(waiting.values()))[0]
                raise ResultTimeout(
                    f"{late} of {len(results)} tasks did not end within {timeout} s; "
                    f"of the first of them, {first.id}: {first.whereabouts()}"
                )
            for task_id, record in found.items():
                for result in waiting.pop(task_id, ()):
                    _take(result, record)
                    yield result
    finally:
        collector.close()


def _take(result: AsyncResult[T], record: bytes) -> None:
    try:
        result.take(record)
    except ProtocolError:
        pass  # no record of taskd or Celery: who reads this one result is told, the others are not disturbed


def wait_for_all(
    results: Sequence[AsyncResult[T]],
    connections: Connections,
    timeout: float | None,
    *,
    each: Callable[[AsyncResult[T]], None],
) -> None:
    """Call ``each`` as each ends; an exception in it ends the wait.  Raises: as ``App.as_completed``, too."""
    for result in as_completed(results, connections, timeout):
        each(result)


def outcome(result: AsyncResult[T]) -> T | Exception:
    """Return what an ended task returned, or the exception that it raised or that reading it raises."""
    try:
        return result.get(0)
    except Exception as error:  # noqa: BLE001 - a failure is a value here
        return error


@contextmanager
def told(progress: Progress | None, title: str, total: int, *, bar: bool) -> Iterator[Progress]:
    """Yield what tells the caller, and shows the bar, how far it is."""
    with progress_bar(title, total) if bar else nullcontext() as show:

        def tell(done: int, of: int) -> None:
            for listener in (progress, show):
                if listener is not None:
                    listener(done, of)

        yield tell


def gather(
    results: Sequence[AsyncResult[T]],
    connections: Connections,
    timeout: float | None,
    tell: Progress,
    *,
    keep_failures: bool,
) -> list[T | Exception]:
    """Return the outcomes in order.  Raises: as ``App.gather``; no failures that are kept."""
    done = 0

    def each(result: AsyncResult[T]) -> None:
        nonlocal done
        done += 1
        tell(done, len(results))
        if not keep_failures and not result.successful():
            result.get(0)

    wait_for_all(results, connections, timeout, each=each)
    # The loop has the type of the results; mypy would take that of the outcomes for it.
    end_of: Callable[[AsyncResult[T]], T | Exception] = outcome
    return [end_of(result) for result in results]
