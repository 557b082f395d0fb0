"""The tasks that Celery itself registers in each app, for messages that its clients send to them.

``celery.chord_unlock`` is not among them: it polls, for result stores that taskd does not have.  Nor are
``celery.group``, ``.chain`` and ``.chord``, which no client has sent since Celery 4: a canvas is taken apart
before it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from inspect import iscoroutine
from typing import TYPE_CHECKING, Any

from taskd.base.errors import TaskdError

if TYPE_CHECKING:
    from taskd.app.app import App


def add_celery_tasks(app: App) -> None:
    """Let this app run them, unless it has tasks of these names.  For workers, after loading the app."""

    def add(name: str, function: Callable[..., object]) -> None:
        if name not in app.tasks:
            app.task(name=name, max_retries=0)(function)

    def call_each(task: Mapping[str, object], it: Sequence[object]) -> list[object]:
        """Return what the task returns for each item."""
        run = _function_of(app, task)
        return [run(item) for item in it]

    def call_each_star(task: Mapping[str, object], it: Sequence[Sequence[object]]) -> list[object]:
        """Return what the task returns for each item, which is its arguments."""
        run = _function_of(app, task)
        return [run(*item) for item in it]

    def call_chunks(task: Mapping[str, object], it: Sequence[Sequence[object]], n: int) -> list[object]:
        """Return what the task returns, in lists of ``n``, as the group that Celery sends here would."""
        run = _function_of(app, task)
        return [[run(*item) for item in it[first : first + n]] for first in range(0, len(it), n)]

    add("celery.map", call_each)
    add("celery.chunks", call_chunks)
    add("celery.starmap", call_each_star)
    add("celery.accumulate", _accumulate)
    add("celery.backend_cleanup", _clean_up)


def _function_of(app: App, signature: Mapping[str, object]) -> Callable[..., object]:
    name = signature.get("task") if isinstance(signature, Mapping) else None
    known = app.tasks.get(name) if isinstance(name, str) else None
    if known is None:
        raise TaskdError(f'task "{name}" of a map is not registered here')

    def run(*args: object) -> object:
        value = known.run(*args)
        return asyncio.run(value) if iscoroutine(value) else value

    return run


def _accumulate(*args: object, index: int | None = None, **_kwargs: Any) -> object:
    """Return what a group that took the place of a task has returned, or one of its results."""
    return args if index is None else args[index]


def _clean_up() -> None:
    """Do nothing: results expire by themselves."""
