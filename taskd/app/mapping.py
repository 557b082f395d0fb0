"""One task over many items: a message for each, or for each chunk of them.

A chunk is a message to a task of taskd's own, which calls the user's function for one item after the other
and returns how each ended.  The items of a chunk are calls and no messages.  They have nothing that belongs
to a message, such as a retry or a rate limit, so a task that asks for one is refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, Protocol, TypeVar, cast

from taskd.app.bound import BoundTask
from taskd.app.task import CoroutineTask, Sendable
from taskd.base.errors import ProtocolError
from taskd.protocol.exceptions import decode_exception
from taskd.sending.calls import Call
from taskd.sending.collecting import Progress, outcome, wait_for_all
from taskd.sending.connections import Connections
from taskd.sending.forms import Acks
from taskd.sending.options import SendOptions, TaskSettings
from taskd.sending.result import AsyncResult

A = TypeVar("A")
R = TypeVar("R")
A_contra = TypeVar("A_contra", contravariant=True)

#: The task that runs chunks; every worker knows it.
CHUNK_TASK = "taskd.chunk"


class Mappable(Protocol[A_contra, R]):
    """A task that can be called with one argument."""

    def call(self, item: A_contra, /) -> Call[R]:
        """Return a call with this item."""


def calls_of(task: Mappable[A, R], items: Iterable[A], chunk: int | None) -> list[Call[Any]]:
    """Return what is to be sent.

    Raises: ``TypeError`` for no task, or one that does not take one argument; ``ValueError`` for a chunk that
    is not possible with this task.
    """
    if not isinstance(task, Sendable):
        raise TypeError(f"map takes a task, made by @app.task, and not {task!r}")
    given = list(items)
    if given:
        task.check_arguments((given[0],), {})
    if chunk is None:
        return [task.call(item) for item in given]
    _check(task, chunk)
    waiting = iter(given)
    calls: list[Call[Any]] = []
    while part := list(islice(waiting, chunk)):
        calls.append(_chunk(task.settings, part))
    return calls


def _check(task: BoundTask, chunk: int) -> None:
    settings = task.settings
    if isinstance(chunk, bool) or not isinstance(chunk, int) or chunk < 1:
        raise ValueError(f"chunk is {chunk!r}; expected a number of items above 0, or None")
    reasons = {
        "is a coroutine, which the worker runs beside others": isinstance(task, CoroutineTask),
        "has retry_for": bool(settings.retry_for),
        "has a rate_limit": bool(settings.rate_limit),
        'has acks="early"': settings.acks is Acks.EARLY,
        "has ignore_result": settings.ignore_result,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(
                f'task "{settings.name}" {reason}: that holds for a message and not for an item of a chunk; '
                "leave chunk out"
            )


def _chunk(settings: TaskSettings, items: Sequence[object]) -> Call[object]:
    """Return the call of a chunk: it goes where the task goes, and has the time of all its items."""
    options: SendOptions = {}
    if settings.soft_time_limit:
        options["soft_time_limit"] = settings.soft_time_limit * len(items)
    if settings.time_limit:
        options["time_limit"] = settings.time_limit * len(items)
    return Call(replace(settings, name=CHUNK_TASK, max_retries=0), (settings.name, items), {}, options)


def outcomes_of(chunk: object, items: int) -> list[object]:
    """Return the values and exceptions of one chunk, whose own outcome is given; one for each item."""
    if isinstance(chunk, Exception):
        return [chunk] * items
    ends = cast("Sequence[object]", chunk) if isinstance(chunk, list) else []
    found = [_outcome(end) for end in ends]
    if len(found) != items:
        return [ProtocolError(f"a chunk of {items} items has returned {len(found)} outcomes")] * items
    return found


def _outcome(end: object) -> object:
    match end:
        case [value]:
            return value
        case [dict(error), str(text)]:
            try:
                return decode_exception(error, text)
            except ProtocolError as wrong:
                return wrong
    return ProtocolError(f"an item of a chunk has no outcome: {end!r:.200}")


def sizes_of(calls: Sequence[Call[Any]]) -> list[int]:
    """Return how many items each chunk holds."""
    return [len(cast("Sequence[object]", call.args[1])) for call in calls]


def gather_chunks(
    results: Sequence[AsyncResult[Any]],
    sizes: Sequence[int],
    connections: Connections,
    timeout: float | None,
    tell: Progress,
    *,
    keep_failures: bool,
) -> list[Any]:
    """Return the outcomes of all items in order.  Raises: as ``gather``."""
    size_of = {result.id: size for result, size in zip(results, sizes, strict=True)}
    ended: dict[str, list[object]] = {}
    done = 0
    total = sum(sizes)

    def each(result: AsyncResult[Any]) -> None:
        nonlocal done
        size = size_of[result.id]
        ended[result.id] = found = outcomes_of(outcome(result), size)
        done += size
        tell(done, total)
        failure = next((end for end in found if isinstance(end, Exception)), None)
        if failure is not None and not keep_failures:
            raise failure

    wait_for_all(results, connections, timeout, each=each)
    return [end for result in results for end in ended[result.id]]
