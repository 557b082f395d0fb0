"""Run one task: the target of every pool, for taskd's own App.

Payload in, reply out, both bytes.  Whatever a task does, the executor answers: ``SystemExit`` and
``KeyboardInterrupt`` are recorded as a failure and go no further, for a task may end itself but not
the process that the worker gave it.  Only the task's own functions are called here; what the parent
can decide from the headers (expired, revoked, not due) is not asked again.
"""

from __future__ import annotations

import logging
from types import CoroutineType

from taskd.app import request as requests
from taskd.app.app import App
from taskd.app.control_flow import Ignore, Reject, Retry
from taskd.app.request import Request
from taskd.app.task import BoundTask
from taskd.errors import ProtocolError, ResolveError, SerializationError, SoftTimeLimitExceeded
from taskd.protocol.exceptions import one_line
from taskd.protocol.execution import End, Payload, Reply, TaskOptions, decode_payload, encode
from taskd.protocol.message import decode_body, decode_headers, embedded_signatures
from taskd.resolve import resolve
from taskd.worker import replies
from taskd.worker.coroutines import run_coroutine

logger = logging.getLogger(__name__)


class Executor:
    """Runs the tasks of one app.  Safe to call from several threads at once."""

    def __init__(self, app: App, node_name: str) -> None:
        self._tasks = app.tasks
        self._node_name = node_name

    def __call__(self, payload: bytes) -> bytes:
        """Run the task in the payload and return the encoded ``Reply``."""
        return encode(self.execute(decode_payload(payload)))

    def execute(self, payload: Payload) -> Reply:
        """Run the task and say how it ended.  Blocks until it has."""
        try:
            headers = decode_headers(payload.headers)
        except ProtocolError as error:
            return Reply(End.REJECTED, text=str(error))
        task = self._tasks.get(headers.task)
        if task is None:
            return replies.rejected(headers, f'task "{headers.task}" is not registered here', keep=True)
        ignored = headers.ignore_result
        keep = not (task.settings.ignore_result if ignored is None else ignored)
        try:
            args, kwargs, embed = decode_body(payload.body, payload.content_type, payload.content_encoding)
        except SerializationError as error:
            return replies.rejected(headers, str(error), keep=keep)
        if embed and (signatures := embedded_signatures(embed)):
            reason = (
                f"the message carries {', '.join(signatures)}; callbacks, chains and chords are not "
                f"supported yet, and running the task without them would drop them"
            )
            return replies.rejected(headers, reason, keep=keep)
        request = Request(headers, payload, args, kwargs, self._node_name)
        return self._run(task, request, keep=keep)

    def _run(self, task: BoundTask, request: Request, *, keep: bool) -> Reply:
        headers = request.message
        token = requests.current.set(request)
        try:
            value = task.run(*request.args, **request.kwargs)
            if type(value) is CoroutineType:
                value = run_coroutine(value)
        except BaseException as error:  # noqa: BLE001 - the task barrier
            return self._on_raise(task, request, error, keep=keep)
        finally:
            requests.current.reset(token)
        try:
            reply = replies.succeeded(headers, value, keep=keep)
        except SoftTimeLimitExceeded:
            # It struck in the instant after the task had returned, which must not cost its result.
            reply = replies.succeeded(headers, value, keep=keep)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("task=%s id=%s %s: %s", headers.task, headers.id, reply.state, reply.text)
        return reply

    def _on_raise(self, task: BoundTask, request: Request, error: BaseException, *, keep: bool) -> Reply:
        headers = request.message
        match error:
            case Retry():
                return replies.on_retry(task, request, error, keep=keep)
            case Ignore():
                logger.debug("task=%s id=%s ignored: %s", headers.task, headers.id, one_line(error))
                return Reply(End.IGNORED, text=one_line(error))
            case Reject():
                return replies.on_reject(headers, error, keep=keep)
            case _:
                return replies.on_error(task, request, error, keep=keep)


def task_table(app: App) -> list[TaskOptions]:
    """Return what the parent must know of each task."""
    return [
        TaskOptions(
            name=settings.name,
            acks=settings.acks,
            ignore_result=settings.ignore_result,
            soft_time_limit=settings.soft_time_limit,
            time_limit=settings.time_limit,
        )
        for settings in (task.settings for task in app.tasks.values())
    ]


def load_app(path: str) -> App:
    """Import the user's code and return the App at ``package.module:attribute``.

    Raises: ``ResolveError`` when there is no such object or it is no App; whatever the user's module
    raises when imported.
    """
    found = resolve(path)
    if not isinstance(found, App):
        raise ResolveError(
            f'app "{path}" is of type {type(found).__module__}.{type(found).__qualname__}; expected taskd.App'
        )
    return found
