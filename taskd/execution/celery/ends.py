"""Tell a Celery app of an end that the worker decides, as Celery's own worker does in its parent.

A backend stores it, chords count it, chains end with it, errbacks and receivers of signals hear of it.  The
worker has the same end taken again until it has an answer.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import Celery, signals, states
from celery.app.task import Context
from celery.app.trace import task_has_custom
from celery.backends.base import DisabledBackend
from celery.backends.rpc import RPCBackend
from celery.exceptions import (
    InvalidTaskError,
    NotRegistered,
    Retry,
    TaskRevokedError,
    TimeLimitExceeded,
    WorkerLostError,
)
from kombu.exceptions import ContentDisallowed, EncodeError

from taskd.base.exhaustive import assert_never
from taskd.execution.celery.chord_claims import WAITING, is_claimed
from taskd.execution.celery.ended_request import ended_request
from taskd.protocol.delivery import Delivery
from taskd.protocol.exceptions import one_line
from taskd.protocol.execution import Cause, DecidedEnd, End, Reply
from taskd.protocol.results import decode_record

logger = logging.getLogger(__name__)

#: Errors that a second attempt would raise again: their cause lies in the message, or in the app's code.
_FINAL = (TypeError, ValueError, LookupError, AttributeError, EncodeError, ContentDisallowed)

_ERRORS: dict[Cause, type[Exception]] = {
    Cause.UNKNOWN: NotRegistered,
    Cause.MALFORMED: InvalidTaskError,
    Cause.LOST: WorkerLostError,
    Cause.TIMED_OUT: TimeLimitExceeded,
    Cause.BROKEN: WorkerLostError,
}
#: As Celery says why a task was revoked.
_REASONS = {Cause.REVOKED: "revoked", Cause.TERMINATED: "terminated", Cause.EXPIRED: "expired"}


def take_end(app: Celery, delivery: Delivery, end: DecidedEnd, node_name: str) -> Reply:
    """Have the app take an end of a task; raises nothing.

    ``IGNORED``: it is taken.  ``FAILED``: not now, such as while the backend is away.  ``REQUEUED``: not now,
    though the backend is there.  ``REJECTED``: never, for what is wrong lies in the message or in the app.
    """
    _close_stale_connections()
    try:
        taking = _Taking(app, delivery, end, node_name)
        taking.take()
        if taking.waits_for_chord():
            return Reply(End.REQUEUED, text=WAITING)
    except _FINAL as error:
        logger.exception("id=%s the app cannot take its end %s", end.task_id, end.state)
        return Reply(End.REJECTED, text=one_line(error))
    except Exception as error:  # the barrier of the app's backend
        logger.debug("id=%s the app did not take its end %s", end.task_id, end.state, exc_info=True)
        return Reply(End.FAILED, text=one_line(error))
    finally:
        _close_stale_connections()
    return Reply(End.IGNORED)


@dataclass(frozen=True, slots=True)
class EndingConsumer:
    """The sender of signals that Celery's consumer sends."""

    app: Celery
    hostname: str


class _Taking:
    """One end on its way into the app."""

    def __init__(self, app: Celery, delivery: Delivery, end: DecidedEnd, node_name: str) -> None:
        self._app = app
        self._end = end
        self._sender = EndingConsumer(app, node_name)
        self._request = ended_request(app, delivery, end.task_id, node_name)
        #: None for a task that the app does not have.
        self._task = app.tasks.get(self._request.task)
        self._backend = app.backend if self._task is None else self._task.backend

    def take(self) -> None:
        cause = self._end.cause
        match cause:
            case Cause.UNKNOWN | Cause.MALFORMED:
                self._refused(cause)
            case Cause.REVOKED | Cause.TERMINATED | Cause.EXPIRED:
                self._revoked(_REASONS[cause])
            case Cause.LOST:
                self._lost()
            case Cause.TIMED_OUT | Cause.BROKEN:
                self._failed()
            case _:
                assert_never(cause)

    def waits_for_chord(self) -> bool:
        """Whether the chord of the task waits for a process that may have died: ask again later."""
        return self._task is not None and is_claimed(self._task, vars(self._request))

    # -- the kinds of ends ---------------------------------------------------------------------

    def _refused(self, cause: Cause) -> None:
        """Answer for a message that names no task of the app, or does not say how to run it."""
        request = self._request
        error = self._error()
        self._store_failure(error, None)
        if cause is Cause.UNKNOWN:
            names = {"exc": error, "name": request.task, "id": request.id}
            signals.task_unknown.send(sender=self._sender, message=request.message, **names)
        else:
            signals.task_rejected.send(sender=self._sender, message=request.message, exc=error)

    def _revoked(self, reason: str) -> None:
        request = self._request
        kept = {"request": request, "store_result": self._stores()}
        if request.chain:
            # Celery leaves the rest of a chain pending, and a chord that counts its last step.
            error = TaskRevokedError(reason)
            self._backend.mark_as_failure(
                request.id, error, call_errbacks=False, state=states.REVOKED, **kept
            )
        else:
            self._backend.mark_as_revoked(request.id, reason, **kept)
        signals.task_revoked.send(
            sender=self._task,
            request=request,
            terminated=self._end.cause is Cause.TERMINATED,
            signum=self._end.signum or None,
            expired=self._end.cause is Cause.EXPIRED,
        )

    def _lost(self) -> None:
        """Answer for a task whose process died, unless that was after the task had told its success."""
        if self._has_succeeded():
            request = self._request
            logger.warning("task=%s id=%s had succeeded before its process died", request.task, request.id)
        elif not self._sends_retry():
            self._failed()

    def _failed(self) -> None:
        task = self._task
        error = self._error()
        traceback = decode_record(self._end.record).traceback if self._end.cause is Cause.BROKEN else None
        timed_out = self._end.cause is Cause.TIMED_OUT
        if task is None:
            self._store_failure(error, traceback)
            return
        einfo = info_of(error)
        self._store_failure(error, traceback)
        with _pushed(task, self._request):
            if timed_out:
                self._call_handlers(error, einfo)
            _tell_of_failure(task, self._request, error, einfo)

    # -- parts of them -------------------------------------------------------------------------

    def _error(self) -> Exception:
        """Return the exception that the worker has recorded, of Celery's class."""
        record = decode_record(self._end.record).value()
        args = record.get("exc_message") if isinstance(record, dict) else None
        return _ERRORS[self._end.cause](*(args if isinstance(args, list) else [args]))

    def _store_failure(self, error: Exception, traceback: str | None) -> None:
        _store_failure(self._backend, self._task, self._request, error, traceback)

    def _stores(self) -> bool:
        return _stores(self._task, self._request)

    def _has_succeeded(self) -> bool:
        backend = self._backend
        if self._task is None or not self._stores() or isinstance(backend, DisabledBackend):
            return False
        if isinstance(backend, RPCBackend):  # the sender's queue holds it, which only the sender may read
            return False
        meta = backend.get_task_meta(self._request.id, cache=False)
        return bool(meta["status"] == states.SUCCESS)

    def _sends_retry(self) -> bool:
        """Send a task again that was acknowledged early and wants that; return whether it was sent."""
        task = self._task
        request = self._request
        if task is None or not getattr(task, "retry_on_worker_lost", False) or task.acks_late:
            return False
        if task.max_retries is not None and request.retries >= task.max_retries:
            return False
        error = self._error()
        wait_s = task.default_retry_delay
        task.signature_from_request(request, countdown=wait_s, retries=request.retries + 1).apply_async()
        if self._stores():
            self._backend.mark_as_retry(request.id, error, request=request)
        einfo = info_of(error)
        with _pushed(task, request):
            self._call(task.on_retry, error, request.id, request.args, request.kwargs, einfo)
            reason = Retry(exc=error, when=wait_s)
            signals.task_retry.send(sender=task, request=request, reason=reason, einfo=einfo)
        return True

    def _call_handlers(self, error: Exception, einfo: ExceptionInfo) -> None:
        """Call the task's own handlers of a failure, as after a failure of its own."""
        task: Any = self._task
        request = self._request
        self._call(task.on_failure, error, request.id, request.args, request.kwargs, einfo)
        if task_has_custom(task, "after_return"):
            given = (states.FAILURE, error, request.id, request.args, request.kwargs, None)
            self._call(task.after_return, *given)

    def _call(self, handler: Callable[..., object], *args: object) -> None:
        """Call a handler of the user, whose errors do not undo the end."""
        try:
            handler(*args)
        except Exception:
            logger.exception("task=%s id=%s its handler failed", self._request.task, self._request.id)


def fail(task: Any, request: Context, error: BaseException) -> None:
    """Store a failure that Celery's tracer has not stored, and tell whom it concerns.

    Raises: whatever the backend raises.
    """
    einfo = info_of(error)
    _store_failure(task.backend, task, request, error, einfo.traceback)
    with _pushed(task, request):
        _tell_of_failure(task, request, error, einfo)


def _store_failure(
    backend: Any, task: Any, request: Context, error: BaseException, traceback: str | None
) -> None:
    def store() -> None:
        backend.mark_as_failure(
            request.id, error, traceback, request=request, store_result=_stores(task, request)
        )

    try:
        store()
    except EncodeError:
        # With result_extended the record holds the arguments, which only their sender's serializer may be
        # able to write.
        logger.warning("task=%s id=%s its result is stored without arguments", request.task, request.id)
        request.args = ()
        request.kwargs = {}
        store()


def _stores(task: Any, request: Context) -> bool:
    """Return whether somebody may ask how the task ended."""
    ignored = vars(request).get("ignore_result")
    if task is None:
        return not ignored
    if ignored is None:
        ignored = task.ignore_result
    return bool(not ignored or task.store_errors_even_if_ignored)


def _tell_of_failure(task: Any, request: Context, error: BaseException, einfo: ExceptionInfo) -> None:
    signals.task_failure.send(
        sender=task,
        task_id=request.id,
        exception=error,
        args=request.args,
        kwargs=request.kwargs,
        traceback=error.__traceback__,
        einfo=einfo,
    )


@contextmanager
def _pushed(task: Any, request: Context) -> Iterator[None]:
    """Let the user's functions find the request where a run would have it."""
    task.request_stack.push(request)
    try:
        yield
    finally:
        task.request_stack.pop()


def info_of(error: BaseException) -> ExceptionInfo:
    """Return what receivers and handlers read of an exception, which may never have been raised."""
    if error.__traceback__ is None:
        try:
            raise error
        except BaseException:  # noqa: BLE001 - the one that is raised here
            return ExceptionInfo()
    return ExceptionInfo((type(error), error, error.__traceback__))


def _close_stale_connections() -> None:
    """Let Django close the database connections that are old or broken, as around a task."""
    database = sys.modules.get("django.db")
    configuration = sys.modules.get("django.conf")
    if database is not None and configuration is not None and configuration.settings.configured:
        database.close_old_connections()
