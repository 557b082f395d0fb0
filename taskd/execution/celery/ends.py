"""Ends that no run of a task has stored: they go to the app's result store, its chords and its errbacks."""

from __future__ import annotations

from typing import Any

from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import signals
from celery.app.task import Context, get_actual_ignore_result
from celery.exceptions import NotRegistered
from kombu.serialization import prepare_accept_content

from taskd.base.errors import ProtocolError
from taskd.execution.celery.request import arguments_of, request_of
from taskd.protocol.delivery import Delivery
from taskd.protocol.exceptions import one_line
from taskd.protocol.execution import Cause, DecidedEnd, End, Reply
from taskd.protocol.message import decode_headers
from taskd.protocol.results import decode_record

_REVOKED = {Cause.REVOKED: "revoked", Cause.TERMINATED: "terminated", Cause.EXPIRED: "expired"}


def take_end(app: Any, delivery: Delivery, end: DecidedEnd, node_name: str) -> Reply:
    """Store an end that the worker has decided.  ``End.IGNORED``: it is stored; any other reply: not."""
    try:
        _store(app, delivery, end, node_name)
    except Exception as error:  # noqa: BLE001 - whatever the app's result store raises
        return Reply(End.REQUEUED, text=one_line(error))
    return Reply(End.IGNORED)


def _store(app: Any, delivery: Delivery, end: DecidedEnd, node_name: str) -> None:
    try:
        headers = decode_headers(delivery.headers)
        fields = request_of(delivery, headers, node_name)
    except ProtocolError:
        fields = {"id": end.task_id, "task": ""}
        compression = None
    else:
        compression = headers.compression
    try:
        accepted = prepare_accept_content(app.conf.accept_content)
        args, kwargs, embed = arguments_of(delivery, compression, accepted)
        fields.update(embed, args=args, kwargs=kwargs)
    except Exception:  # noqa: BLE001, S110 - an end is stored without what cannot be read
        pass
    request = Context(fields)
    task = app.tasks.get(fields["task"])
    if end.cause in _REVOKED:
        backend = app.backend if task is None else task.backend
        backend.mark_as_revoked(
            end.task_id, _REVOKED[end.cause], request=request, store_result=_stores(task, request)
        )
        return
    fail(task, request, _error_of(end, fields), backend=app.backend)


def _error_of(end: DecidedEnd, fields: dict[str, Any]) -> Exception:
    error = decode_record(end.record).exception()
    text = str(error) if error is not None else end.state
    match end.cause:
        case Cause.UNKNOWN:
            return NotRegistered(fields["task"])  # type: ignore[no-any-return]
        case Cause.TIMED_OUT:
            return TimeLimitExceeded(text)  # type: ignore[no-any-return]
        case _:
            return WorkerLostError(text)  # type: ignore[no-any-return]


def _stores(task: Any, request: Context) -> bool:
    if task is None:
        return True
    return bool(not get_actual_ignore_result(task, request) or task.store_errors_even_if_ignored)


def fail(task: Any, request: Context, error: BaseException, backend: Any = None) -> None:
    """Store a failure, count it for chords, call errbacks and tell receivers.

    ``task`` is None where the app does not know its name; then ``backend`` stores it.

    Raises: whatever the result store raises.
    """
    store = backend if task is None else task.backend
    store.mark_as_failure(request.id, error, request=request, store_result=_stores(task, request))
    if task is not None:
        signals.task_failure.send(
            sender=task,
            task_id=request.id,
            exception=error,
            args=request.args,
            kwargs=request.kwargs,
            traceback=error.__traceback__,
            einfo=None,
        )
