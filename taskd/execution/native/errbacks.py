"""Errbacks that take the request, the exception and its traceback, as Celery calls them.

Where the task itself failed they are called in its process.  Where the worker decided its end, or a chord
failed, they come as a message with the id, and get the exception of the stored result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from inspect import Parameter, isfunction, signature
from typing import Any

from taskd.app.bound import BoundTask
from taskd.app.task import CoroutineTask
from taskd.base.errors import TaskdError
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import decode_record
from taskd.sending.connections import Connections
from taskd.sending.request import Request, direct_request
from taskd.sending.signature import Signature


def called_here(errbacks: Sequence[Signature], tasks: Mapping[str, BoundTask]) -> list[Signature]:
    """Return the errbacks that are called in this process; the others become tasks and get the id."""
    found = []
    for errback in errbacks:
        task = tasks.get(errback.task)
        options = errback.options
        alone = not (errback.immutable or errback.begins or options.chain or options.chord)
        if task is not None and alone and wants_exception(task, errback.args, errback.kwargs):
            found.append(errback)
    return found


def wants_exception(task: BoundTask, args: Sequence[object], kwargs: Mapping[str, object]) -> bool:
    """Return whether an errback takes more than one argument beside those that it brings.

    Neither with ``bind=True``, as in Celery, nor ``async def``, for which nobody could wait.
    """
    if not isfunction(task.run) or isinstance(task, CoroutineTask):
        return False
    return _takes_more_than_one(task.run, args, kwargs)


def _takes_more_than_one(
    function: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, Any]
) -> bool:
    try:
        left = signature(partial(function, *args, **kwargs)).parameters.values()
    except (TypeError, ValueError):
        return False
    positional = {Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD}
    return sum(each.kind in positional for each in left) > 1


def with_exception(
    task: BoundTask, args: list[object], kwargs: Mapping[str, object], connections: Connections
) -> list[object]:
    """Return the arguments of an errback that came as a message, with what it wants in place of the id.

    Where no result is kept, the exception is a ``TaskdError`` that says so.
    """
    if not args or not isinstance(args[0], str) or not wants_exception(task, args[1:], kwargs):
        return args
    task_id = args[0]
    blank = direct_request(task.name)
    request = Request(TaskHeaders(task="", id=task_id), blank.delivery, (), {}, "", keeps_result=False)
    error: BaseException | None = None
    traceback = None
    try:
        stored = connections.results().get([task_id]).get(task_id)
        if stored is not None:
            record = decode_record(stored)
            error = record.exception()
            traceback = record.traceback
    except TaskdError as problem:
        error = problem
    if error is None:
        error = TaskdError(f"task {task_id} did not end well; the result store has no exception of it")
    return [request, error, traceback, *args[1:]]
