"""The task that runs the items of a chunk, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from taskd.app.app import App
from taskd.app.bound import BoundTask
from taskd.app.mapping import CHUNK_TASK
from taskd.base.errors import SerializationError, SoftTimeLimitExceeded, TaskdError
from taskd.protocol import serializers
from taskd.protocol.exceptions import encode_exception, format_traceback, readable


def add_chunk_task(app: App) -> None:
    """Let this app run chunks.  For workers, after the user's code is loaded."""
    if CHUNK_TASK not in app.tasks:
        app.task(name=CHUNK_TASK, max_retries=0)(_runner(app))


def _runner(app: App) -> Callable[[str, list[object]], list[object]]:
    def run_chunk(name: str, items: list[object]) -> list[object]:
        """Return how each call ended: ``[value]``, or ``[exception, traceback]``."""
        task = app.tasks.get(name)
        if task is None:
            raise TaskdError(f'task "{name}" of a chunk is not registered here')
        return [_called(task, item) for item in items]

    return run_chunk


def _called(task: BoundTask, item: object) -> list[object]:
    try:
        value = task.run(item)
        # Here, so that one value without JSON costs itself and not the chunk.
        serializers.dumps(value)
    except SoftTimeLimitExceeded:
        raise  # it is the limit of the message
    except SerializationError as error:
        return _failed(SerializationError(f"task {task.name} ran, but its result cannot be stored: {error}"))
    except BaseException as error:  # noqa: BLE001 - the task barrier, as of a message of its own
        return _failed(readable(error))
    return [value]


def _failed(error: BaseException) -> list[object]:
    return [encode_exception(error), format_traceback(error)]
