"""The states that a task has before its end: STARTED, and those that it invents to show its progress.

They are stored at once, by the process that runs the task.  The states that end a run come from the
worker when it settles the message, so that a task cannot be seen as done and yet run again.
"""

from __future__ import annotations

from taskd.base import clock
from taskd.protocol.results import TaskState, state_record
from taskd.results.base import StoredResult
from taskd.sending.connections import Connections
from taskd.sending.request import Request

#: States that only the worker may store.
_WORKERS = frozenset(
    {TaskState.PENDING, TaskState.RETRY, TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED}
)


def store_state(
    connections: Connections, request: Request, state: str, meta: object, task_id: str | None = None
) -> None:
    """Store the state of a running task; do nothing when no result is kept for it.

    ``task_id``: of another task than the one that runs.
    Raises: ``ValueError`` for a state that only the worker may store, ``SerializationError`` for a
    ``meta`` that JSON cannot represent, ``StorageError``.
    """
    if not state or state in _WORKERS:
        raise ValueError(
            f'task "{request.task}": state "{state}" is stored by the worker alone; choose a name of '
            f'your own, such as "PROGRESS"'
        )
    if not request.keeps_result or not connections.keeps_results:
        return
    if task_id is None or task_id == request.id:
        record = state_record(request.id, state, meta, group_id=request.group, parent_id=request.parent_id)
    else:
        record = state_record(task_id, state, meta)
    expires_s = connections.config.result_expires
    expires_at = clock.now() + expires_s if expires_s else None
    result = StoredResult(
        task_id or request.id,
        state,
        record,
        expires_at,
        request.reply_to,
        task_id or request.delivery.correlation_id,
    )
    connections.results().store([result])
