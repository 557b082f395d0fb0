"""Run one message of a Celery app by Celery's own tracer, and say how it ended.

The tracer stores the result, counts for chords and sends what follows; the reply only tells the worker how to
settle the message, and what to show.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from typing import Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import SoftTimeLimitExceeded, WorkerLostError
from celery import states
from celery.app.task import Context
from celery.exceptions import Reject, Retry
from kombu.serialization import prepare_accept_content
from kombu.utils.encoding import safe_repr

from taskd.base import clock, log
from taskd.base.errors import ProtocolError
from taskd.execution.celery.chord_claims import WAITING, is_claimed
from taskd.execution.celery.ends import fail, take_end
from taskd.execution.celery.records import HandedRecords
from taskd.execution.celery.request import arguments_of, request_of
from taskd.execution.ledger import Running
from taskd.pools.interrupt import is_abort
from taskd.protocol.delivery import Delivery
from taskd.protocol.exceptions import one_line
from taskd.protocol.execution import Assignment, End, Reply, decode_assignment, encode
from taskd.protocol.message import TaskHeaders, decode_headers
from taskd.protocol.results import success_record
from taskd.sending import request as requests

logger = logging.getLogger(__name__)

#: Characters of an exception in logs and events.
_MOST_SHOWN = 1000

#: A function without a message that the worker's parent may have called.
Errand = Callable[[], None]


#: Ends that count as a part of a chord.
_COUNTED = frozenset({End.SUCCEEDED, End.FAILED})


class CeleryExecutor:
    """Runs the tasks of one Celery app.  Safe to call from several threads or greenlets at once."""

    def __init__(
        self,
        app: Any,
        node_name: str,
        errands: Mapping[str, Errand],
        ledger: Running | None,
        records: HandedRecords | None = None,
    ) -> None:
        """``records`` are handed to the worker; None leaves all of them to the app's backend."""
        self._app = app
        self._tasks = app.tasks
        self._node_name = node_name
        self._errands = errands
        self._ledger = ledger
        self._records = records
        self._accepted = prepare_accept_content(app.conf.accept_content)

    def __call__(self, payload: bytes) -> bytes:
        """Run the task of an encoded ``Assignment`` and return the encoded ``Reply``."""
        return encode(self.execute(decode_assignment(payload)))

    def execute(self, assignment: Assignment) -> Reply:
        """Run the task and say how it ended."""
        delivery = assignment.delivery
        if assignment.ended is not None:
            return take_end(self._app, delivery, assignment.ended, self._node_name)
        try:
            headers = decode_headers(delivery.headers)
            fields = request_of(delivery, headers.id, self._node_name)
        except ProtocolError as error:
            return Reply(End.REJECTED, text=str(error))
        errand = self._errands.get(headers.task)
        if errand is not None:
            errand()
            return Reply(End.SUCCEEDED, states.SUCCESS, success_record(headers.id, None, done_at=clock.now()))
        task = self._tasks.get(headers.task)
        if task is None:
            return Reply(End.REJECTED, text=f'task "{headers.task}" is not registered here')
        try:
            args, kwargs, embed = arguments_of(delivery, headers.compression, self._accepted)
        except Exception as error:  # noqa: BLE001 - the app's own serializer may raise anything
            return self._unreadable(task, fields, error)
        fields.update(embed, args=args, kwargs=kwargs)
        return self._run(task, headers, delivery, fields)

    def _run(self, task: Any, headers: TaskHeaders, delivery: Delivery, fields: dict[str, Any]) -> Reply:
        if headers.expired(clock.now()):
            return Reply(End.EXPIRED)
        args = fields["args"]
        kwargs = fields["kwargs"]
        shown = requests.Request(headers, delivery, args, kwargs, self._node_name)
        token = requests.current.set(shown)
        slot = self._ledger.begin(headers.id) if self._ledger is not None else 0
        try:
            again = delivery.deliveries > 1
            records = self._records
            if records is None:
                reply = self._traced(task, headers.id, fields)
            else:
                records.begin(task, headers.id, again=again)
                reply = records.end(self._traced(task, headers.id, fields))
            return self._once_counted(task, fields, reply) if again and task.acks_late else reply
        finally:
            log.bring_back()
            requests.current.reset(token)
            if slot and self._ledger is not None:
                self._ledger.end(slot)

    @staticmethod
    def _once_counted(task: Any, fields: Mapping[str, Any], reply: Reply) -> Reply:
        """Have a message that came again come once more if its chord still waits for a process that died."""
        if reply.end not in _COUNTED:
            return reply
        try:
            is_waiting = is_claimed(task, fields)
        except Exception as error:  # noqa: BLE001 - whatever the app's result store raises
            return _unstored(fields, error)
        return Reply(End.UNSTORED, text=WAITING) if is_waiting else reply

    def _traced(self, task: Any, task_id: str, fields: dict[str, Any]) -> Reply:
        try:
            traced = task.__trace__(task_id, fields["args"], fields["kwargs"], fields)
        except BaseException as error:  # noqa: BLE001 - the task barrier
            reply = self._escaped(task, fields, error)
            _let_go(error)
            return reply
        result, info, _runtime, text = traced
        if info is None:
            return Reply(End.SUCCEEDED, states.SUCCESS, text=text or "")
        reply = self._ended(task, fields, info, result)
        _let_go(info.retval, result.exception if isinstance(result, ExceptionInfo) else None)
        return reply

    def _ended(self, task: Any, fields: Mapping[str, Any], info: Any, result: Any) -> Reply:
        error = info.retval
        trace = str(getattr(result, "traceback", "") or "")
        match info.state:
            case states.RETRY:
                cause = error.exc if error.exc is not None else error
                return Reply(End.RETRIED, states.RETRY, text=_told(cause), traceback=trace)
            case states.IGNORED:
                return Reply(End.IGNORED, text=_told(error))
            case states.REJECTED:
                return self._rejected(task, fields, error)
            case _:
                softly = isinstance(error, SoftTimeLimitExceeded)
                told = _told(error)
                pid = os.getpid()
                return Reply(End.FAILED, states.FAILURE, text=told, traceback=trace, softly=softly, pid=pid)

    def _rejected(self, task: Any, fields: Mapping[str, Any], error: Any) -> Reply:
        if error.requeue:
            return Reply(End.REQUEUED, text=_told(error))
        return self._failed(task, fields, error, End.REJECTED, str(error.reason))

    def _unreadable(self, task: Any, fields: Mapping[str, Any], error: Exception) -> Reply:
        return self._failed(task, fields, error, End.REJECTED, _told(error))

    def _escaped(self, task: Any, fields: Mapping[str, Any], error: BaseException) -> Reply:
        """Answer for what the tracer lets pass: the end of a process, a result store that is down."""
        if is_abort(error):
            return Reply(End.FAILED, states.FAILURE, text=_told(error), pid=os.getpid())
        if isinstance(error, Reject):
            return self._rejected(task, fields, error)
        if isinstance(error, (SystemExit, KeyboardInterrupt, GeneratorExit)):
            text = f"the task tried to end its process: {_told(error)}"
            return self._failed(task, fields, WorkerLostError(text), End.FAILED, text)
        if isinstance(error, MemoryError):
            return self._failed(task, fields, error, End.FAILED, _told(error))
        return _unstored(fields, error)

    @staticmethod
    def _failed(task: Any, fields: Mapping[str, Any], error: BaseException, end: End, text: str) -> Reply:
        """Store a failure that the tracer did not store."""
        try:
            fail(task, Context(fields), error)
        except Exception as trouble:  # noqa: BLE001 - whatever the app's result store raises
            return _unstored(fields, trouble)
        _let_go(error)
        return Reply(end, states.FAILURE, text=text, pid=os.getpid())


def _let_go(*errors: BaseException | None) -> None:
    """Take the tracebacks from errors that were told, and from those that led to them.

    They hold the frame of the tracer, which holds the error and Celery's copy of the traceback.  For each
    failure 100 KB and more would wait for the collector to look at its oldest generation.
    """
    pending = [*errors]
    met: set[int] = set()
    while pending:
        each = pending.pop()
        if each is None or id(each) in met:
            continue
        met.add(id(each))
        # Not by assignment, which an exception may refuse, such as a frozen dataclass.
        BaseException.with_traceback(each, None)
        pending += [each.__cause__, each.__context__, each.exc if isinstance(each, Retry) else None]


def _unstored(fields: Mapping[str, Any], error: BaseException) -> Reply:
    """Answer for a run whose end the app's result store has not taken."""
    text = f"the app's result backend did not take the end of the run: {_told(error)}"
    logger.error("task=%s id=%s %s", fields["task"], fields["id"], text, exc_info=error)
    return Reply(End.UNSTORED, text=text)


def _told(error: object) -> str:
    """Return the exception as monitors of Celery show it, in the length of a line."""
    text = str(safe_repr(error))
    if "\n" in text and isinstance(error, BaseException):
        return one_line(error)  # such as pydantic's, which do not even say their type
    return text[:_MOST_SHOWN]
