"""The sender's end of a task: wait for it, ask about it, forget it."""

from __future__ import annotations

import math
from typing import Generic, TypeVar, cast

from taskd.base.errors import TaskdError
from taskd.base.lifecycle import Deadline
from taskd.protocol.results import ResultRecord, TaskState, child_ids, decode_record
from taskd.sending.connections import Connections
from taskd.sending.revoking import revoke
from taskd.sending.whereabouts import Sent, whereabouts

R = TypeVar("R")


class ResultTimeout(TaskdError, TimeoutError):
    """The task did not end in time.  It goes on; ask again later."""


class AsyncResult(Generic[R]):
    """The result of one task.  Safe to share between threads; cheap to make.

    Every method may raise ``StorageError``, and ``TaskdError`` when results are switched off.
    """

    __slots__ = ("_connections", "_ignored", "_record", "_sent", "id")

    def __init__(
        self, task_id: str, connections: Connections, *, ignored: bool = False, sent: Sent | None = None
    ) -> None:
        self.id = task_id
        self._sent = sent
        self._connections = connections
        self._ignored = ignored
        # The final record once seen: it cannot change any more.
        self._record: ResultRecord | None = None

    def __repr__(self) -> str:
        """Return the class and the id."""
        return f"<AsyncResult {self.id}>"

    def get(self, timeout: float | None = None) -> R:
        """Wait for the task and return its value, or raise the exception that it raised.

        The exception has the traceback in the worker as its cause.  ``timeout`` is in seconds, None
        for ever.  Inside a task it blocks a slot of the worker, and can wait for ever when the other
        task waits for that slot.

        Raises: ``ResultTimeout``; ``TaskRevokedError`` for a task that was revoked or expired;
        ``TaskdError`` at once for a task that keeps no result.
        """
        record = self._record or self._wait(deadline_of(timeout), timeout)
        return cast("R", _value(record))

    async def aget(self, timeout: float | None = None) -> R:
        """Do the same without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.get, timeout)

    def ready(self) -> bool:
        """Return whether the task has ended, well or not."""
        record = self._look()
        return record is not None and record.is_final

    def successful(self) -> bool:
        """Return whether the task has ended well."""
        record = self._look()
        return record is not None and record.status == TaskState.SUCCESS.value

    @property
    def state(self) -> str:
        """The state's name; PENDING for a task that has not begun, or that nobody knows."""
        record = self._look()
        return TaskState.PENDING.value if record is None else record.status

    @property
    def info(self) -> object:
        """The value or the exception, whichever there is; None before that.  Raises nothing of the task."""
        record = self._look()
        if record is None:
            return None
        error = record.exception()
        return record.value() if error is None else error

    @property
    def traceback(self) -> str | None:
        """The traceback in the worker, as text."""
        record = self._look()
        return None if record is None else record.traceback

    @property
    def children(self) -> list[AsyncResult[object]]:
        """The tasks that this one has sent, as far as its record names them; none before it has ended."""
        record = self._look()
        found = [] if record is None else child_ids(record.children or ())
        return [AsyncResult(task_id, self._connections) for task_id in found]

    def forget(self) -> None:
        """Delete the stored result."""
        self._record = None
        self._connections.results().forget([self.id])

    def revoke(self, *, terminate: bool = False, signal: str | None = None) -> bool:
        """Keep the task from running, and with ``terminate`` end it if it runs.  As ``App.revoke``."""
        return revoke(self._connections, (self.id,), terminate=terminate, signal=signal)

    def _look(self) -> ResultRecord | None:
        if self._record is None:
            found = self._connections.results().get([self.id]).get(self.id)
            if found is None:
                return None
            record = decode_record(found)
            if not record.is_final:
                return record
            self._record = record
        return self._record

    def _wait(self, deadline: Deadline, timeout: float | None) -> ResultRecord:
        self.check_kept()
        store = self._connections.results()
        while True:
            found = store.wait([self.id], deadline).get(self.id)
            if found is not None:
                self.take(found)
                return cast("ResultRecord", self._record)
            if deadline.passed:
                raise ResultTimeout(f"task {self.id} did not end within {timeout} s; {self.whereabouts()}")

    def take(self, record: bytes) -> None:
        """Keep a final record that was found for this task."""
        self._record = decode_record(record)

    def whereabouts(self) -> str:
        """Return in words where the task is, as far as this client can know; asks store and broker."""
        state = self.state
        if state != TaskState.PENDING.value:
            return f"it is {state}"
        return f"it is {state}: {whereabouts(self._sent, self._connections)}"

    def check_kept(self) -> None:
        """Raise ``TaskdError`` when the task was sent with ``ignore_result``."""
        if self._ignored:
            raise TaskdError(f"task {self.id} was sent with ignore_result; there is no result to wait for")

    @property
    def is_taken(self) -> bool:
        """Whether the final record is here already."""
        return self._record is not None


def deadline_of(timeout: float | None) -> Deadline:
    """Return the end of a timeout in seconds; None is for ever."""
    return Deadline(math.inf) if timeout is None else Deadline.after(timeout)


def _value(record: ResultRecord) -> object:
    error = record.exception()
    if error is not None:
        raise error
    return record.value()
