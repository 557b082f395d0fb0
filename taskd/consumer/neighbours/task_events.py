"""The fates of tasks, told as events; for monitors such as Flower and ``taskctl events``.

Call these methods only while ``Dispatcher.on``.  The pool does not say when a job begins, so it is
looked at now and then: ``task-started`` may come late, at the latest right before the task's end, but its
timestamp is the true one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import ParamSpec

import msgspec

from taskd.base import clock
from taskd.base.exhaustive import assert_never
from taskd.base.loop import Loop, Timer
from taskd.consumer.request import Request
from taskd.consumer.settling.decided_ends import DecidedEnd
from taskd.events.dispatcher import Dispatcher
from taskd.pools.base import Pool
from taskd.protocol.events import (
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskReceived,
    TaskRejected,
    TaskRetried,
    TaskRevoked,
    TaskStarted,
    TaskSucceeded,
)
from taskd.protocol.execution import End, Reply
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState

logger = logging.getLogger(__name__)

#: How often to look for tasks that have begun.
_LOOK_EVERY_S = 0.1


P = ParamSpec("P")


def _harmless(tell: Callable[P, None]) -> Callable[P, None]:
    """Let no event cost the task that it tells of."""

    @wraps(tell)
    def attempt(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            tell(*args, **kwargs)
        except Exception:
            logger.exception("an event was not sent")

    return attempt


class TaskEvents:
    """Makes the events of one worker's tasks.  ``requests`` are those that the pool holds, by tag."""

    def __init__(
        self, loop: Loop, dispatcher: Dispatcher, pool: Pool, requests: Mapping[int, Request]
    ) -> None:
        self._loop = loop
        self._dispatcher = dispatcher
        self._pool = pool
        self._requests = requests
        #: Ids of tasks that were received and not yet seen to begin.
        self._unstarted: set[str] = set()
        self._look_timer: Timer | None = None

    @_harmless
    def received(self, requests: Iterable[Request]) -> None:
        """Tell of tasks that go to the pool now."""
        now = clock.now()
        for request in requests:
            if not request.options.send_events:
                continue
            headers = request.headers
            self._add(
                TaskReceived,
                now,
                headers.id,
                name=headers.task,
                args=headers.argsrepr,
                kwargs=headers.kwargsrepr,
                root_id=headers.root_id,
                parent_id=headers.parent_id,
                retries=headers.retries,
                eta=headers.eta and headers.eta.isoformat(),
                expires=headers.expires and headers.expires.isoformat(),
            )
            self._unstarted.add(headers.id)
        if self._look_timer is None:
            self._look_timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _look(self) -> None:
        """Tell of tasks that have begun since the last look."""
        self._look_timer = None
        # Jobs that were taken back from the pool are no longer waited for.
        self._unstarted.intersection_update(request.headers.id for request in self._requests.values())
        now_at, now = clock.now(), clock.monotonic()
        for running in self._pool.running():
            request = self._requests.get(running.tag)
            if request is not None:
                self._started(request.headers.id, now_at - (now - running.since))
        if self._unstarted:
            self._look_timer = self._loop.call_later(_LOOK_EVERY_S, self._look)

    def _started(self, task_id: str, at: float) -> None:
        if task_id in self._unstarted:
            self._unstarted.discard(task_id)
            self._add(TaskStarted, at, task_id)

    @_harmless
    def done(self, headers: TaskHeaders, reply: Reply, runtime_s: float) -> None:
        """Tell how a task ended that ran to its end."""
        now, task_id = clock.now(), headers.id
        self._started(task_id, now - runtime_s)
        match reply.end:
            case End.SUCCEEDED:
                self._add(TaskSucceeded, now, task_id, result=reply.text, runtime=runtime_s)
            case End.FAILED:
                self._failed(now, task_id, reply)
            case End.RETRIED:
                exception = exception_of(reply.record, reply.text)
                self._add(TaskRetried, now, task_id, exception=exception, traceback=reply.traceback or None)
            case End.IGNORED:
                pass  # nobody is told: Celery has no event for it
            case End.REQUEUED:
                self._add(TaskRejected, now, task_id, requeue=True)
            case End.REJECTED:
                self._failed(now, task_id, reply)
                self._add(TaskRejected, now, task_id, requeue=False)
            case _:
                assert_never(reply.end)

    def _failed(self, now: float, task_id: str, reply: Reply) -> None:
        exception = exception_of(reply.record, reply.text)
        self._add(TaskFailed, now, task_id, exception=exception, traceback=reply.traceback or None)

    @_harmless
    def ended(
        self, ending: DecidedEnd, *, terminated: bool = False, signum: int = 0, expired: bool = False
    ) -> None:
        """Tell of an end that the worker, not the task, has brought about."""
        now = clock.now()
        self._unstarted.discard(ending.task_id)
        if ending.state == TaskState.REVOKED:
            self._add(
                TaskRevoked,
                now,
                ending.task_id,
                terminated=terminated,
                signum=signum or None,
                expired=expired,
            )
        else:
            exception = exception_of(ending.record, ending.state)
            self._add(TaskFailed, now, ending.task_id, exception=exception, traceback=None)

    @_harmless
    def cancelled(self, headers: TaskHeaders) -> None:
        """Tell of a task that a cold stop ends."""
        self._unstarted.discard(headers.id)
        self._add(TaskCancelled, clock.now(), headers.id)

    def _add(self, make: Callable[..., TaskEvent], at: float, task_id: str, **fields: object) -> None:
        self._dispatcher.add(make(uuid=task_id, **self._dispatcher.stamp(at), **fields))


class _Exception(msgspec.Struct, frozen=True):
    exc_type: str
    exc_message: object = None


class _Record(msgspec.Struct, frozen=True):
    result: _Exception


_record_decoder = msgspec.json.Decoder(_Record)


def exception_of(record: bytes, otherwise: str) -> str:
    """Return the repr of the exception in a result record; ``otherwise`` when there is none."""
    try:
        found = _record_decoder.decode(record).result
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return otherwise
    message = found.exc_message
    arguments = message if isinstance(message, list) else [message]
    return f"{found.exc_type}({', '.join(repr(each) for each in arguments)})"
