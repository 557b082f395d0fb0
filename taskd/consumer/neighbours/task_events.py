"""The fates of tasks, told as events; for monitors such as Flower and ``taskctl events``.

Subscribes to the worker's moments while somebody listens.  ``task-started`` may come late, at the latest
right before the task's end, but its timestamp is the true one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import wraps
from typing import ParamSpec

from taskd.base import clock
from taskd.base.exhaustive import assert_never
from taskd.consumer.moments import Moments, RunEnded, RunLost, RunStarted
from taskd.consumer.request import WorkerRequest
from taskd.events.dispatcher import Dispatcher
from taskd.protocol.events import (
    TaskCancelled,
    TaskEvent,
    TaskFailed,
    TaskReceived,
    TaskRefused,
    TaskRetried,
    TaskRevoked,
    TaskStarted,
    TaskSucceeded,
)
from taskd.protocol.execution import DecidedEnd, End, Reply
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState, exception_text

logger = logging.getLogger(__name__)

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
    """Makes the events of one worker's tasks."""

    def __init__(self, dispatcher: Dispatcher, moments: Moments) -> None:
        self._dispatcher = dispatcher
        self._moments = moments
        self._subscriptions: list[Callable[[], None]] = []
        dispatcher.when_switched(self._switch)

    def _switch(self, on: bool) -> None:
        for end in self._subscriptions:
            end()
        self._subscriptions = []
        if on:
            moments = self._moments
            self._subscriptions = [
                # Starts first: whoever watches for them tells what it missed before the ends.
                moments.started.subscribe(self._started),
                moments.received.subscribe(self._received),
                moments.ended.subscribe(self._ended),
                moments.lost.subscribe(self._lost),
            ]

    def _received(self, requests: Iterable[WorkerRequest]) -> None:
        """Tell of tasks that go to the pool now."""
        now = clock.now()
        for request in requests:
            if request.options.send_events:
                self._tell_received(request.headers, now)

    @_harmless
    def _tell_received(self, headers: TaskHeaders, now: float) -> None:
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

    def _started(self, started: Sequence[RunStarted]) -> None:
        """Tell of tasks that have begun."""
        for each in started:
            if each.options.send_events:
                self._add(TaskStarted, each.at, each.headers.id)

    def _ended(self, ended: Sequence[RunEnded]) -> None:
        """Tell how tasks ended, or one run of them."""
        for each in ended:
            if each.options is not None and not each.options.send_events:
                continue
            if each.reply is not None:
                self._done(each.headers, each.reply, each.runtime_s or 0.0)
            elif each.decided is not None:
                self._decided(each, each.decided)
            else:
                self._cancelled(each.headers)

    def _lost(self, lost: Sequence[RunLost]) -> None:
        """Tell of tasks that a cold stop cuts off; how the others end is told with their ends."""
        for each in lost:
            if each.outcome is None and each.request.options.send_events:
                self._cancelled(each.request.headers)

    @_harmless
    def _done(self, headers: TaskHeaders, reply: Reply, runtime_s: float) -> None:
        """Tell how a task ended that ran to its end."""
        now = clock.now()
        task_id = headers.id
        match reply.end:
            case End.SUCCEEDED:
                self._add(TaskSucceeded, now, task_id, result=reply.text, runtime=runtime_s)
            case End.FAILED:
                self._tell_failed(now, task_id, reply)
            case End.RETRIED:
                exception = exception_text(reply.record, reply.text)
                self._add(TaskRetried, now, task_id, exception=exception, traceback=reply.traceback or None)
            case End.IGNORED | End.EXPIRED:
                pass  # Celery has no event for the first; the second is an end that the worker decides
            case End.REQUEUED | End.UNSTORED:
                self._add(TaskRefused, now, task_id, requeue=True)
            case End.REJECTED:
                self._tell_failed(now, task_id, reply)
                self._add(TaskRefused, now, task_id, requeue=False)
            case _:
                assert_never(reply.end)

    def _tell_failed(self, now: float, task_id: str, reply: Reply) -> None:
        exception = exception_text(reply.record, reply.text)
        self._add(TaskFailed, now, task_id, exception=exception, traceback=reply.traceback or None)

    @_harmless
    def _decided(self, ended: RunEnded, end: DecidedEnd) -> None:
        """Tell of an end that the worker, not the task, has brought about."""
        now = clock.now()
        if end.state == TaskState.REVOKED:
            self._add(
                TaskRevoked,
                now,
                end.task_id,
                terminated=ended.terminated,
                signum=ended.signum or None,
                expired=ended.expired,
            )
        else:
            exception = exception_text(end.record, end.state)
            self._add(TaskFailed, now, end.task_id, exception=exception, traceback=None)

    @_harmless
    def _cancelled(self, headers: TaskHeaders) -> None:
        """Tell of a task that the end of the worker cuts off."""
        self._add(TaskCancelled, clock.now(), headers.id)

    def _add(self, make: Callable[..., TaskEvent], at: float, task_id: str, **fields: object) -> None:
        self._dispatcher.add(make(uuid=task_id, **self._dispatcher.stamp(at), **fields))
