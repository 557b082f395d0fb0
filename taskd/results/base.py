"""The seam of result backends.

A record is the JSON object that Celery's clients read (``taskd.protocol.results``); a backend
keeps it by task id and wakes those who wait.  Rule of every backend, as in Celery: a stored
SUCCESS is never overwritten by another state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec

from taskd.lifecycle import Deadline


class StoredResult(msgspec.Struct, frozen=True, gc=False):
    """One record to store; ``record`` is JSON text, ``expires_at`` wall clock or None for ever."""

    task_id: str
    state: str
    record: bytes
    expires_at: float | None


class ResultStore(Protocol):
    """Keeps records.  Safe to share between threads."""

    def store(self, results: Sequence[StoredResult]) -> None:
        """Write all records in one trip.

        Raises: ``StorageError``; then none was written and the same call may be made again.
        """

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the records that exist, by task id."""

    def wait(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Block until at least one of the tasks is in a final state; return all final ones.

        Empty when the deadline passed first.  Wakes by event, with a slow poll as safety net.
        """

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records; unknown ids are no error."""

    def expire(self, now: float) -> int:
        """Delete records whose time has come (wall clock); return how many."""

    def close(self) -> None:
        """Release the connection.  May be called twice."""
