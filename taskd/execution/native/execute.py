"""Run one task: the target of every pool, for taskd's own App.

Assignment in, reply out, both bytes.  The executor always answers: ``SystemExit`` and
``KeyboardInterrupt`` are recorded as a failure and go no further, for a task may end itself but not
the process that the worker gave it.  Only the task's own functions are called here; the parent has
decided already what the headers tell (expired, revoked, not due).

An execution is three steps: prepare, run, finish.  ``__call__`` runs the task in the calling thread,
``acall`` in the running asyncio loop; the other two steps are the same.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Coroutine
from functools import partial
from types import CoroutineType
from typing import Any

import msgspec

from taskd.app.app import App
from taskd.app.bound import BoundTask
from taskd.app.control_flow import Ignore, Reject, Replaced, Retry
from taskd.app.hooks import Ended
from taskd.app.replacing import replacement
from taskd.app.task import CoroutineTask
from taskd.base import clock, log
from taskd.base.errors import (
    ProtocolError,
    SerializationError,
    SoftTimeLimitExceeded,
    TaskdError,
)
from taskd.execution.ledger import Running
from taskd.execution.native import replies
from taskd.execution.native.coroutines import meant_by, run_coroutine
from taskd.execution.native.errbacks import with_exception
from taskd.execution.native.in_thread import run_in_thread
from taskd.execution.native.linked import Linked, after_success, with_failure, with_success
from taskd.pools.interrupt import is_abort
from taskd.protocol.content import Accepted
from taskd.protocol.delivery import Delivery, Outgoing
from taskd.protocol.exceptions import one_line, readable
from taskd.protocol.execution import Assignment, End, Reply, decode_assignment, encode
from taskd.protocol.message import TaskHeaders, decode_body, decode_headers
from taskd.protocol.results import TaskState, decode_record
from taskd.sending import request as requests
from taskd.sending.callbacks import UNSENDABLE, ends_of, own_part
from taskd.sending.options import TaskSettings
from taskd.sending.request import Request
from taskd.sending.signature import read_embed
from taskd.sending.states import store_state

logger = logging.getLogger(__name__)

_STORED = frozenset({End.SUCCEEDED, End.FAILED, End.RETRIED})

#: Runs a coroutine to its end.
Wait = Callable[[Coroutine[Any, Any, object]], object]


class Run(msgspec.Struct, gc=False):
    """One task that is about to run."""

    task: BoundTask
    request: Request
    linked: Linked | None

    @property
    def counts(self) -> bool:
        """Whether a chord has to know how it ends, whoever else may ask."""
        return self.linked is not None and bool(self.linked.ends.parts)


class Executor:
    """Runs the tasks of one app.  Safe to call from several threads at once.

    ``wait`` is how ``__call__`` runs the coroutine of an ``async def`` task to its end; a pool whose
    threads are not the system's, such as greenlets, passes its own.  ``ledger`` is told what runs.
    ``accepted``: how arguments may be written; None for what runs no code.
    """

    def __init__(
        self,
        app: App,
        node_name: str,
        wait: Wait = run_coroutine,
        ledger: Running | None = None,
        accepted: Accepted | None = None,
    ) -> None:
        self._connections = app.connections
        self._tasks = app.tasks
        self._hooks = app.hooks
        self._node_name = node_name
        self._wait = wait
        self._ledger = ledger
        self._accepted = accepted

    def __call__(self, payload: bytes) -> bytes:
        """Run the task of an encoded ``Assignment`` and return the encoded ``Reply``."""
        return encode(self.execute(decode_assignment(payload)))

    async def acall(self, payload: bytes) -> bytes:
        """Do the same in the running asyncio loop, which stays free meanwhile.

        ``async def`` tasks run in the caller's asyncio task, the others in the loop's default
        executor.  For the soft time limit cancel that asyncio task with the exception as message:
        ``task.cancel(SoftTimeLimitExceeded("..."))``.  A coroutine sees the cancellation, a plain function
        the exception itself.  Any other cancellation abandons the run.  An answer comes in every case,
        unless the cancellation came before the asyncio task had taken its first step.
        """
        given = decode_assignment(payload)
        run = self._prepare(given)
        if given.ended is not None:
            return encode(self._tell_of_end(run, given.ended.record))
        return encode(run if isinstance(run, Reply) else await self._run_natively(run))

    def execute(self, assignment: Assignment) -> Reply:
        """Run the task and say how it ended.  Blocks until it has."""
        run = self._prepare(assignment)
        if assignment.ended is not None:
            return self._tell_of_end(run, assignment.ended.record)
        if isinstance(run, Reply):
            return run
        token = requests.current.set(run.request)
        slot = self._ledger.begin(run.request.id) if self._ledger is not None else 0
        try:
            try:
                if run.task.settings.track_started:
                    self._store_started(run)
                if self._hooks.any:
                    self._hooks.run_before(run.request)
                value = run.task.run(*run.request.args, **run.request.kwargs)
                if type(value) is CoroutineType:
                    value = self._wait(value)
            except BaseException as error:  # noqa: BLE001 - the task barrier
                return self._raised(run, readable(error), told=is_abort(error))
            return self._returned(run, value)
        finally:
            requests.current.reset(token)
            if slot and self._ledger is not None:
                self._ledger.end(slot)

    async def _run_natively(self, run: Run) -> Reply:
        task = run.task
        request = run.request
        token = requests.current.set(request)
        slot = self._ledger.begin(request.id) if self._ledger is not None else 0
        try:
            try:
                if task.settings.track_started:
                    started = await run_in_thread(partial(self._store_started, run))
                    if started.error is not None:
                        raise started.error
                if self._hooks.any:
                    self._hooks.run_before(request)
                if isinstance(task, CoroutineTask):
                    value = await task.run(*request.args, **request.kwargs)
                else:
                    thread = await run_in_thread(partial(task.run, *request.args, **request.kwargs))
                    if thread.error is not None:
                        aborted = is_abort(thread.error)
                        return self._raised(run, readable(thread.error), told=aborted)
                    value = thread.value
                    if type(value) is CoroutineType:
                        value = await value
            except BaseException as error:  # noqa: BLE001 - the task barrier
                return self._raised(run, meant_by(readable(error)), told=is_abort(error))
            return self._returned(run, value)
        finally:
            requests.current.reset(token)
            if slot and self._ledger is not None:
                self._ledger.end(slot)

    def _prepare(self, assignment: Assignment) -> Run | Reply:
        """Return the task with its request, or the answer to a message that cannot be run."""
        delivery = assignment.delivery
        try:
            headers = decode_headers(delivery.headers)
        except ProtocolError as error:
            return replies.malformed(error)
        if assignment.ended is None and headers.expired(clock.now()):
            return Reply(End.EXPIRED)
        task = self._tasks.get(headers.task)
        if task is None:
            return replies.rejected(headers, f'task "{headers.task}" is not registered here', keep=True)
        return self._read(task, headers, delivery)

    def _read(self, task: BoundTask, headers: TaskHeaders, delivery: Delivery) -> Run | Reply:
        ignored = headers.ignore_result
        keep = not (task.settings.ignore_result if ignored is None else ignored)
        try:
            args, kwargs, embed = decode_body(
                delivery.body,
                delivery.content_type,
                headers.compression,
                self._accepted,
            )
        except SerializationError as error:
            return replies.rejected(headers, str(error), keep=keep)
        if headers.taskd_errback:
            args = with_exception(task, args, kwargs, self._connections)
        linked = None
        if any(embed.values()):
            try:
                ends = ends_of(headers, embed)
                part = own_part(headers, embed)
            except SerializationError as error:
                return replies.rejected(headers, str(error), keep=keep)
            try:
                linked = Linked(read_embed(embed, chords=self._counts_chords()), ends, part)
            except ProtocolError as error:
                reply = replies.rejected(headers, str(error), keep=True)
                return msgspec.structs.replace(reply, given_up=ends.ids, parts=ends.parts, silent=not keep)
        request = Request(headers, delivery, args, kwargs, self._node_name, embed=embed, keeps_result=keep)
        return Run(task, request, linked)

    def _tell_of_end(self, run: Run | Reply, record: bytes) -> Reply:
        """Call the hooks for a run that the worker has ended; nothing of the message is run."""
        if isinstance(run, Reply):
            return Reply(End.IGNORED)
        token = requests.current.set(run.request)
        try:
            found = decode_record(record)
            error = found.exception()
            text = one_line(error) if error is not None else found.status
            self._hooks.run_after(run.request, Ended(found.status, text, found.traceback or "", error))
        finally:
            requests.current.reset(token)
        return Reply(End.IGNORED)

    def _counts_chords(self) -> bool:
        return bool(self._connections.config.result_kind.chords)

    def _store_started(self, run: Run) -> None:
        """Store STARTED.  The task runs even if STARTED cannot be stored."""
        request = run.request
        meta = {"pid": os.getpid(), "hostname": self._node_name}
        try:
            store_state(run.task.app.connections, request, TaskState.STARTED.value, meta)
        except SoftTimeLimitExceeded:
            raise
        except TaskdError as error:
            logger.warning("task=%s id=%s STARTED is not stored: %s", request.task, request.id, error)

    def _returned(self, run: Run, value: object) -> Reply:
        log.bring_back()
        try:
            reply = self._reply_to_value(run, value)
        except SoftTimeLimitExceeded:
            # It struck in the instant after the task had ended, which must not cost its outcome.
            reply = self._reply_to_value(run, value)
        reply = self._with_retry_beside(run, reply)
        if self._hooks.any:
            self._run_after(run, reply, None, value)
        return _hushed(reply, run)

    def _raised(self, run: Run, error: BaseException, *, told: bool = False) -> Reply:
        """Return the reply to what a task has raised; ``told``: the worker tells the hooks of its end."""
        log.bring_back()
        try:
            reply = self._reply_to_error(run, error)
        except SoftTimeLimitExceeded:
            reply = self._reply_to_error(run, error)
        reply = self._with_retry_beside(run, reply)
        if self._hooks.any and not told:
            self._run_after(run, reply, error)
        return _hushed(reply, run)

    @staticmethod
    def _with_retry_beside(run: Run, reply: Reply) -> Reply:
        return replies.with_retry_beside(run.task, run.request, reply) if run.request.retry_beside else reply

    def _reply_to_value(self, run: Run, value: object) -> Reply:
        request = run.request
        headers = run.request.message
        children = request.children
        keep = request.keeps_result or run.counts
        follows: list[Outgoing] = []
        if run.linked is not None:
            try:
                follows = after_success(run.linked, value, request, self._tasks)
            except UNSENDABLE as error:
                reply = replies.failed(headers, error, keep=keep, children=children)
                return with_failure(reply, run.linked, request, self._tasks, error)
            children = [*children, *(message.task_id for message in follows)]
        reply = replies.succeeded(headers, value, keep=keep, children=children)
        if run.linked is not None:
            if reply.end is not End.SUCCEEDED:
                return with_failure(reply, run.linked, request, self._tasks, SerializationError(reply.text))
            reply = with_success(reply, run.linked, follows)
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("task=%s id=%s %s: %s", headers.task, headers.id, reply.state, reply.text)
        return reply

    def _reply_to_error(self, run: Run, error: BaseException) -> Reply:
        reply = self._ended_by(run, error)
        if run.linked is None:
            return reply
        if isinstance(error, Retry):
            error = error.cause or error
        return with_failure(reply, run.linked, run.request, self._tasks, error)

    def _run_after(self, run: Run, reply: Reply, error: BaseException | None, value: object = None) -> None:
        if isinstance(error, Retry):
            error = error.cause or error
        state = reply.state if reply.end in _STORED else reply.end.name
        self._hooks.run_after(run.request, Ended(state, reply.text, reply.traceback, error, value))

    def _replaced(self, run: Run, replaced: Replaced) -> Reply:
        request = run.request
        try:
            messages, begins = replacement(replaced.signature, request, self._settings_of)
        except (ProtocolError, *UNSENDABLE) as error:
            return replies.failed(request.message, error, keep=request.keeps_result or run.counts)
        text = one_line(replaced)
        return Reply(End.IGNORED, text=text, callbacks=messages, begins=begins)

    def _settings_of(self, name: str) -> TaskSettings:
        known = self._tasks.get(name)
        return TaskSettings(name) if known is None else known.settings

    def _ended_by(self, run: Run, error: BaseException) -> Reply:
        headers = run.request.message
        keep = run.request.keeps_result or run.counts
        match error:
            case Retry():
                return replies.on_retry(run.task, run.request, error, keep=keep)
            case Replaced():
                return self._replaced(run, error)
            case Ignore():
                logger.debug("task=%s id=%s ignored: %s", headers.task, headers.id, one_line(error))
                return Reply(End.IGNORED, text=one_line(error))
            case Reject():
                return replies.on_reject(headers, error, keep=keep)
            case _:
                return replies.on_error(run.task, run.request, error, keep=keep)


def _hushed(reply: Reply, run: Run) -> Reply:
    """Return the reply for a record that only the chord may have, if nobody else is to see it."""
    if run.request.keeps_result or not run.counts:
        return reply
    return msgspec.structs.replace(reply, silent=True)
