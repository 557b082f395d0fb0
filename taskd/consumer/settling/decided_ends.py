"""The result records of tasks whose end the worker decides, not the task.

One function for each way to end.  ``outcomes`` and ``intaking`` store them through the same path as the
records that the executor makes, so a client that waits for the task is answered.
"""

from __future__ import annotations

from taskd.base import clock
from taskd.protocol.delivery import Delivery
from taskd.protocol.exceptions import NotRegistered, TaskRejected, TimeLimitExceeded, WorkerLostError
from taskd.protocol.execution import Cause, DecidedEnd
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState, failure_record, revoked_record
from taskd.sending.callbacks import Aftermath, after_failure


def aftermath(headers: TaskHeaders, delivery: Delivery) -> Aftermath:
    """Return what follows the task's end that is not its success."""
    return after_failure(headers, delivery.body, delivery.content_type, delivery.queue)


def unknown(headers: TaskHeaders) -> DecidedEnd:
    """The task is not registered."""
    return _failed(headers, NotRegistered(headers.task), Cause.UNKNOWN)


def malformed(headers: TaskHeaders, reason: str) -> DecidedEnd:
    """Its message does not say what to run, or how."""
    return _failed(headers, TaskRejected(reason), Cause.MALFORMED)


def child_lost(headers: TaskHeaders, cause: str) -> DecidedEnd:
    """The process that ran it died, and it will not be run again."""
    return _failed(headers, WorkerLostError(f"Worker exited prematurely: {cause}"), Cause.LOST)


def timed_out(headers: TaskHeaders, limit_s: float) -> DecidedEnd:
    """Its hard time limit passed."""
    return _failed(headers, TimeLimitExceeded(limit_s), Cause.TIMED_OUT)


def broken(headers: TaskHeaders, traceback: str) -> DecidedEnd:
    """The executor itself failed on it."""
    return _failed(headers, WorkerLostError("the executor failed on this task"), Cause.BROKEN, traceback)


def unstored(headers: TaskHeaders, why: str) -> DecidedEnd:
    """It ran, and the app could not store how that ended."""
    return _failed(headers, WorkerLostError(why), Cause.BROKEN)


def revoked(headers: TaskHeaders, cause: Cause, signum: int = 0) -> DecidedEnd:
    """It was revoked, expired or terminated, by ``signum`` if not 0."""
    record = revoked_record(
        headers.id, _WORDS[cause], done_at=clock.now(), group_id=headers.group, parent_id=headers.parent_id
    )
    return DecidedEnd(headers.id, TaskState.REVOKED.value, record, cause, signum)


#: As Celery's TaskRevokedError says it.
_WORDS = {Cause.REVOKED: "revoked", Cause.TERMINATED: "terminated", Cause.EXPIRED: "expired"}


def _failed(headers: TaskHeaders, error: Exception, cause: Cause, traceback: str | None = None) -> DecidedEnd:
    record = failure_record(
        headers.id,
        error,
        done_at=clock.now(),
        traceback=traceback,
        group_id=headers.group,
        parent_id=headers.parent_id,
    )
    return DecidedEnd(headers.id, TaskState.FAILURE.value, record, cause)
