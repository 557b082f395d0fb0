"""REVOKED, told in advance: the record of a revoked task whose message still waits.

A client that waits for such a task is answered at once.  The record carries a mark, so that lifting the
revocation takes it back, and leaves alone the record of a task that was dropped meanwhile.
"""

from __future__ import annotations

from collections.abc import Sequence

from taskd.protocol.results import TaskState, decode_record, revoked_record
from taskd.results.base import ResultStore, StoredResult

#: States of a task that no worker has begun, as far as anybody has said.
_NOT_BEGUN = frozenset({TaskState.PENDING.value, "RECEIVED", TaskState.RETRY.value, "REJECTED"})


def tell(results: ResultStore, task_ids: Sequence[str], *, now: float, keep_s: float) -> None:
    """Store REVOKED for the tasks that nobody has begun.  Raises: ``StorageError``, ``ProtocolError``."""
    known = {task_id: decode_record(record).status for task_id, record in results.get(task_ids).items()}
    results.store(
        [
            StoredResult(
                task_id,
                TaskState.REVOKED.value,
                revoked_record(task_id, "revoked", done_at=now, in_advance=True),
                now + keep_s if keep_s else None,
            )
            for task_id in task_ids
            if known.get(task_id, TaskState.PENDING) in _NOT_BEGUN
        ]
    )


def take_back(results: ResultStore, task_ids: Sequence[str]) -> None:
    """Forget what was told in advance of these tasks.  Raises: ``StorageError``, ``ProtocolError``."""
    told = [task_id for task_id, data in results.get(task_ids).items() if decode_record(data).in_advance]
    if told:
        results.forget(told)
