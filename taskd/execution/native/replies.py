"""Turn the end of one execution into the reply for the worker: state, record, retry message.

Pure but for the clock and the log line of a failure.  Nothing here may raise for what a task did.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from taskd.app.bound import BoundTask
from taskd.app.control_flow import Reject, Retry
from taskd.app.retrying import RetryChanges, arguments_again, changes_of
from taskd.base import clock, ids
from taskd.base.backoff import Backoff
from taskd.base.errors import ProtocolError, SerializationError, SoftTimeLimitExceeded
from taskd.base.safe_text import Block
from taskd.protocol import serializers
from taskd.protocol.delivery import Outgoing
from taskd.protocol.exceptions import (
    MaxRetriesExceededError,
    TaskRejected,
    WorkerLostError,
    format_traceback,
    one_line,
)
from taskd.protocol.execution import End, Reply
from taskd.protocol.message import TaskHeaders, UnclearTask, encode_body, raw_headers
from taskd.protocol.message_repr import bounded_repr
from taskd.protocol.results import failure_record, retry_record, success_record
from taskd.sending.due import due_in, moment
from taskd.sending.request import Request

logger = logging.getLogger(__name__)

#: Ends of a run that are its own: another run may follow beside.
_ENDED = frozenset({End.SUCCEEDED, End.FAILED, End.IGNORED})
_LONGEST_WAIT_S = 365 * 86_400.0


def succeeded(headers: TaskHeaders, value: object, *, keep: bool, children: Sequence[str] = ()) -> Reply:
    """Reply for a task that returned; a value that cannot be stored makes it a failure."""
    if not keep:
        return Reply(End.SUCCEEDED, "SUCCESS", b"", bounded_repr(value))
    try:
        record = success_record(
            headers.id,
            value,
            done_at=clock.now(),
            group_id=headers.group,
            parent_id=headers.parent_id,
            children=children,
        )
    except SerializationError as error:
        problem = SerializationError(f"task {headers.task} ran, but its result cannot be stored: {error}")
        return failed(headers, problem, keep=keep, children=children)
    except SoftTimeLimitExceeded:
        raise
    except Exception as error:  # noqa: BLE001 - the value is the user's: a __json__ may raise anything
        return failed(headers, error, keep=keep)
    return Reply(End.SUCCEEDED, "SUCCESS", record, bounded_repr(value))


def failed(headers: TaskHeaders, error: BaseException, *, keep: bool, children: Sequence[str] = ()) -> Reply:
    """Reply for a task that raised."""
    if not isinstance(error, Exception):
        error = _for_the_record(error)
    text = one_line(error)
    traceback = format_traceback(error)
    trace = Block(traceback.rstrip())
    logger.error("task=%s id=%s failed: %s\n%s", headers.task, headers.id, text, trace)
    record = b""
    if keep:
        record = failure_record(
            headers.id,
            error,
            done_at=clock.now(),
            traceback=traceback,
            group_id=headers.group,
            parent_id=headers.parent_id,
            children=children,
        )
    softly = isinstance(error, SoftTimeLimitExceeded)
    return Reply(End.FAILED, "FAILURE", record, text, traceback, softly=softly, pid=os.getpid())


def _for_the_record(error: BaseException) -> Exception:
    """Return what to record for an exception that is meant for a process or a thread, not for a client."""
    own = isinstance(error, (SystemExit, KeyboardInterrupt))
    what = "the task tried to end its process" if own else "the task was ended from outside"
    return WorkerLostError(f"{what}: {one_line(error)}").with_traceback(error.__traceback__)


def malformed(error: ProtocolError) -> Reply:
    """Reply for headers that do not say what to run; the parent has refused such a message already."""
    known = error.known if isinstance(error, UnclearTask) else None
    return Reply(End.REJECTED, text=str(error)) if known is None else rejected(known, str(error), keep=True)


def rejected(headers: TaskHeaders, reason: str, *, keep: bool) -> Reply:
    """Reply for a message that goes to the dead-letter queue; a waiting client is answered."""
    record = b""
    if keep:
        record = failure_record(
            headers.id,
            TaskRejected(reason),
            done_at=clock.now(),
            group_id=headers.group,
            parent_id=headers.parent_id,
        )
    return Reply(End.REJECTED, "FAILURE", record, reason, pid=os.getpid())


def on_reject(headers: TaskHeaders, reject: Reject, *, keep: bool) -> Reply:
    """Reply for a task that raised ``Reject``."""
    reason = reject.reason or "the task rejected its message"
    return Reply(End.REQUEUED, text=reason) if reject.requeue else rejected(headers, reason, keep=keep)


def on_retry(task: BoundTask, request: Request, retry: Retry, *, keep: bool) -> Reply:
    """Reply for a task that raised ``Retry``: the message for the next run, or the failure."""
    headers = request.message
    if task.retries_are_used_up(request, retry.max_retries):
        error = retry.cause or MaxRetriesExceededError(f"no retry left after {request.retries}")
        return failed(headers, error, keep=keep, children=request.children)
    try:
        message = _as_asked_for(task, request, retry)
    except (ValueError, TypeError, OverflowError, SerializationError) as error:
        return failed(headers, error, keep=keep, children=request.children)
    return _retried(headers, retry.cause or retry, message, keep=keep)


def with_retry_beside(task: BoundTask, request: Request, reply: Reply) -> Reply:
    """Add the next run that was asked for with ``throw=False`` to the reply of a run that has ended."""
    retry = request.retry_beside
    if not isinstance(retry, Retry) or reply.end not in _ENDED:
        return reply
    try:
        message = _as_asked_for(task, request, retry)
    except (ValueError, TypeError, OverflowError, SerializationError) as error:
        return failed(request.message, error, keep=request.keeps_result, children=request.children)
    return msgspec.structs.replace(reply, callbacks=[*reply.callbacks, message])


def _as_asked_for(task: BoundTask, request: Request, retry: Retry) -> Outgoing:
    if retry.eta is not None:
        due_at = moment(retry.eta, f'task "{task.name}": eta of the retry')
    else:
        countdown = _delay_s(task, request) if retry.countdown is None else retry.countdown
        due_at = due_in(countdown, f'task "{task.name}": countdown of the retry')
    changes = changes_of(task.name, request, retry.options)
    if retry.task_args is None and retry.task_kwargs is None:
        return _again(request, due_at, changes=changes)
    args, kwargs = arguments_again(task.run, request, retry.task_args, retry.task_kwargs)
    return _again(request, due_at, args, kwargs, changes)


def on_error(task: BoundTask, request: Request, error: BaseException, *, keep: bool) -> Reply:
    """Reply for a task that raised anything else: an automatic retry or the failure."""
    settings = task.settings
    headers = request.message
    if (
        settings.retry_for
        and isinstance(error, settings.retry_for)
        and not isinstance(error, settings.dont_retry_for)
        and not task.retries_are_used_up(request)
        and not _is_wrong_call(error)
    ):
        delay_s = _asked_for_s(error)
        if delay_s is None:
            delay_s = _automatic_delay_s(task, request)
        return _retried(headers, error, _again(request, clock.now() + delay_s), keep=keep)
    return failed(headers, error, keep=keep, children=request.children)


def _retried(headers: TaskHeaders, cause: BaseException, message: Outgoing, *, keep: bool) -> Reply:
    traceback = format_traceback(cause) if cause.__traceback__ is not None else ""
    record = b""
    if keep:
        record = retry_record(
            headers.id,
            cause,
            traceback=traceback or None,
            group_id=headers.group,
            parent_id=headers.parent_id,
        )
    return Reply(End.RETRIED, "RETRY", record, one_line(cause), traceback, message)


def _is_wrong_call(error: BaseException) -> bool:
    """Whether the arguments did not fit the function: no frame of it is in the traceback."""
    frames = error.__traceback__
    return isinstance(error, TypeError) and frames is not None and frames.tb_next is None


def _delay_s(task: BoundTask, request: Request) -> float:
    own = request.message.taskd_retry_delay
    return task.settings.retry_delay if own is None else own


def _asked_for_s(error: BaseException) -> float | None:
    """Return the wait that the exception itself names as ``retry_after``, as HTTP clients' errors do.

    Numbers of seconds from 0 to a year count; anything else is as if it were not there.
    """
    try:
        wait_s = getattr(error, "retry_after", None)
    except Exception:  # noqa: BLE001 - a property of the user's exception runs here
        return None
    if isinstance(wait_s, bool) or not isinstance(wait_s, (int, float)):
        return None
    return float(wait_s) if 0 <= wait_s <= _LONGEST_WAIT_S else None


def _automatic_delay_s(task: BoundTask, request: Request) -> float:
    settings = task.settings
    if not settings.retry_backoff or request.message.taskd_retry_delay is not None:
        return _delay_s(task, request)
    backoff = Backoff(
        base_s=settings.retry_backoff, max_s=settings.retry_backoff_max, jitter=settings.retry_jitter
    )
    return backoff.delay_s(request.retries + 1)


def _again(
    request: Request,
    due_at: float,
    args: Sequence[object] | None = None,
    kwargs: Mapping[str, object] | None = None,
    changes: RetryChanges = RetryChanges(),  # noqa: B008 - frozen
) -> Outgoing:
    """Return the message of the next run: the same headers but for retries, eta, origin and the changes.

    ``args`` and ``kwargs``: both or neither.  It goes to the queue that it came from, or the one asked for.
    """
    delivery = request.delivery
    headers = raw_headers(delivery.headers)
    headers["retries"] = request.retries + 1
    headers["eta"] = clock.iso(due_at)
    headers["origin"] = ids.origin()
    headers.update(changes.headers or {})
    written: dict[str, Any] = {}
    if args is not None and kwargs is not None:
        headers["argsrepr"] = bounded_repr(tuple(args))
        headers["kwargsrepr"] = bounded_repr(dict(kwargs))
        headers.pop("compression", None)
        written = {
            # The signatures linked to the task stay with it.
            "body": encode_body(args, kwargs, request.embed),
            "content_type": serializers.JSON,
            "content_encoding": serializers.UTF_8,
        }
    return msgspec.structs.replace(
        delivery.again(),
        headers=json.dumps(headers, separators=(",", ":")).encode(),
        routing_key=changes.queue or delivery.queue,
        priority=delivery.priority if changes.priority is None else changes.priority,
        due_at=due_at,
        task_id=request.id,
        **written,
    )
