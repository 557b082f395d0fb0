"""The user's app: import it, and say what the worker's parent must know of its tasks."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NoReturn

from taskd.app.app import App
from taskd.app.celery_tasks import add_celery_tasks
from taskd.app.chunk_task import add_chunk_task
from taskd.base import log
from taskd.base.errors import ResolveError
from taskd.base.resolve import ModuleNotFoundInPath, first_of_the_users, resolve
from taskd.host.breakpoints import use_terminal
from taskd.sending.options import TaskOptions, worker_options


def task_table(app: App) -> list[TaskOptions]:
    """Return what the parent must know of each task."""
    hears_ends = app.hooks.hear_ends
    return [replace(worker_options(task.settings), hears_ends=hears_ends) for task in app.tasks.values()]


def load_app(path: str, table: str = "", directory: str = "") -> App:
    """Import the user's code and return the App at ``package.module:attribute``.

    ``table`` is that of the worker, ``directory`` its value: for the message that names the key.
    Raises: ``ResolveError`` when there is no such object, it is not an App, or the code ends the process;
    and any exception that the user's module raises when imported.
    """
    use_terminal()
    try:
        with _exit_raises():
            found = resolve(path)
    except SystemExit as error:
        raise ResolveError(f'the code of app "{path}" ends the process: {_exit_of(error)}') from error
    except ModuleNotFoundInPath as error:
        if not table:
            raise
        is_set = f"is {directory}" if directory else "is not set"
        raise ResolveError(f"{error}; worker.{table}.directory {is_set}") from error
    finally:
        log.bring_back()
    if not isinstance(found, App):
        kind = f"{type(found).__module__}.{type(found).__qualname__}"
        # Users who come from Celery name Celery's app.
        hint = ", in a module beside Celery's app (docs/celery.md)" if kind.startswith("celery.") else ""
        raise ResolveError(f'app "{path}" is of type {kind}; expected taskd.App{hint}')
    add_chunk_task(found)
    add_celery_tasks(found)
    return found


@contextmanager
def _exit_raises() -> Iterator[None]:
    """Have ``os._exit`` of this process raise meanwhile: it would end a worker without a word."""
    real = os._exit
    own_pid = os.getpid()
    is_loading = True

    def leave(status: int) -> NoReturn:
        if is_loading and os.getpid() == own_pid:
            raise SystemExit(status)
        real(status)

    os._exit = leave
    try:
        yield
    finally:
        is_loading = False
        os._exit = real


def _exit_of(error: SystemExit) -> str:
    """Say with which status, and at which line."""
    frames = traceback.extract_tb(first_of_the_users(error.__traceback__))
    places = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename != __file__]
    where = f" at {places[0]}" if places else ""
    by = f", in {places[-1]}" if len(places) > 1 else ""
    return f"exit status {error.code}{where}{by}"
