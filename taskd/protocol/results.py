"""Result records, as Celery's clients read them from a result backend.

A record is the JSON object ``{"status", "result", "traceback", "children", "date_done", "task_id"}``,
with ``group_id`` and ``parent_id`` only where the task has them.  The worker makes some of them in the
executor and the others (child lost, time limit, revoked, unknown task) in the parent, all through here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum

import msgspec

from taskd.base import clock
from taskd.base.errors import ProtocolError
from taskd.protocol import budget, serializers
from taskd.protocol.exceptions import (
    TaskRevokedError,
    decode_exception,
    encode_exception,
    format_traceback,
)


class TaskState(str, Enum):
    """The states that Celery knows.  PENDING is never stored: it is the lack of a record."""

    PENDING = "PENDING"
    STARTED = "STARTED"
    RETRY = "RETRY"
    SUCCESS = "SUCCESS"
    FAILURE = "FAILURE"
    REVOKED = "REVOKED"

    @property
    def is_final(self) -> bool:
        """Whether a task in this state will not run any more."""
        return self in FINAL_STATES


FINAL_STATES = frozenset({TaskState.SUCCESS, TaskState.FAILURE, TaskState.REVOKED})


def _nothing() -> None:
    return None


class ResultRecord(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """One stored record; ``result`` stays encoded until asked for."""

    status: str
    result: msgspec.Raw
    # Required ones, so that omit_defaults writes them: Celery always does.
    traceback: str | None
    children: list[object] | None
    #: Celery's rpc backend leaves it out.  A factory's value is written for all that.
    date_done: str | None = msgspec.field(default_factory=_nothing)
    task_id: str
    group_id: str | None = None
    parent_id: str | None = None
    #: REVOKED, while the message still waits: it can be taken back.  Ours; Celery's clients pass it over.
    in_advance: bool = False

    @property
    def is_final(self) -> bool:
        """Whether the task will not run any more."""
        return self.status in FINAL_STATES

    def value(self) -> object:
        """Return what the task returned, or whatever a client of another kind stored.

        Raises: ``SerializationError`` when the value is of a type that this process cannot read.
        """
        return serializers.loads(bytes(self.result))

    def exception(self) -> Exception | None:
        """Return the exception of a failed, retried or revoked task; None for the other states.

        Raises: ``ProtocolError`` when the record holds no exception.
        """
        if self.status not in (TaskState.FAILURE, TaskState.RETRY, TaskState.REVOKED):
            return None
        encoded = self.value()
        if not isinstance(encoded, dict):
            raise ProtocolError(
                f"task {self.task_id} in state {self.status} has no exception record: {encoded!r:.200}"
            )
        return decode_exception(encoded, self.traceback)


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(ResultRecord)
_NULL = msgspec.Raw(b"null")
#: Fields of a record beside the result: a traceback, and the children.
_AROUND_BYTES = 2**20
_AROUND_CONTAINERS = 10_000


def success_record(
    task_id: str,
    value: object,
    *,
    done_at: float,
    group_id: str | None = None,
    parent_id: str | None = None,
    children: Sequence[str] = (),
) -> bytes:
    """Return the record of a task that returned ``value``; ``done_at`` is wall clock.

    ``children``: ids of the tasks that it has sent.

    Raises: ``SerializationError`` when JSON cannot represent the value.
    """
    return _encoder.encode(
        ResultRecord(
            status="SUCCESS",
            result=_NULL if value is None else _within_budget(value),
            traceback=None,
            children=_results_of(children),
            date_done=clock.iso(done_at),
            task_id=task_id,
            group_id=group_id,
            parent_id=parent_id,
        )
    )


def failure_record(
    task_id: str,
    error: BaseException,
    *,
    done_at: float,
    traceback: str | None = None,
    group_id: str | None = None,
    parent_id: str | None = None,
    children: Sequence[str] = (),
) -> bytes:
    """Return the record of a task that ended with ``error``.

    Without ``traceback`` the text is taken from the error, when it was raised at all: the parent
    makes errors that were not (``WorkerLostError("...")``).
    """
    if traceback is None and error.__traceback__ is not None:
        traceback = format_traceback(error)
    return _exception_record(
        task_id,
        error,
        status="FAILURE",
        traceback=traceback,
        done_at=done_at,
        ids=(group_id, parent_id),
        children=children,
    )


def state_record(
    task_id: str,
    state: str,
    meta: object,
    *,
    group_id: str | None = None,
    parent_id: str | None = None,
) -> bytes:
    """Return the record of a task that goes on, in a state of its own or in STARTED.

    Raises: ``SerializationError`` when JSON cannot represent ``meta``.
    """
    return _encoder.encode(
        ResultRecord(
            status=state,
            result=_within_budget(meta),
            traceback=None,
            children=[],
            date_done=None,
            task_id=task_id,
            group_id=group_id,
            parent_id=parent_id,
        )
    )


def retry_record(
    task_id: str,
    error: BaseException,
    *,
    traceback: str | None,
    group_id: str | None = None,
    parent_id: str | None = None,
) -> bytes:
    """Return the record of a task that will run again because of ``error``."""
    return _exception_record(
        task_id, error, status="RETRY", traceback=traceback, done_at=None, ids=(group_id, parent_id)
    )


def revoked_record(
    task_id: str,
    reason: str,
    *,
    done_at: float,
    group_id: str | None = None,
    parent_id: str | None = None,
    in_advance: bool = False,
) -> bytes:
    """Return the record of a task that will not run; Celery's reasons: revoked, expired, terminated."""
    return _exception_record(
        task_id,
        TaskRevokedError(reason),
        status="REVOKED",
        traceback=None,
        done_at=done_at,
        ids=(group_id, parent_id),
        in_advance=in_advance,
    )


def _exception_record(
    task_id: str,
    error: BaseException,
    *,
    status: str,
    traceback: str | None,
    done_at: float | None,
    ids: tuple[str | None, str | None],
    children: Sequence[str] = (),
    in_advance: bool = False,
) -> bytes:
    if traceback is not None:
        traceback = _encodable(traceback)
    return _encoder.encode(
        ResultRecord(
            status=status,
            result=msgspec.Raw(serializers.dumps(encode_exception(error))),
            traceback=traceback,
            children=_results_of(children),
            date_done=None if done_at is None else clock.iso(done_at),
            task_id=task_id,
            group_id=ids[0],
            parent_id=ids[1],
            in_advance=in_advance,
        )
    )


def record_for(record: bytes, task_id: str) -> bytes:
    """Return the same end as the record of another task: one that follows in a chain and will not run."""
    other = msgspec.structs.replace(
        decode_record(record),
        task_id=task_id,
        children=[],
        group_id=None,
        parent_id=None,
        in_advance=False,
    )
    return _encoder.encode(other)


def _within_budget(value: object) -> msgspec.Raw:
    data = serializers.dumps(value)
    budget.check_json(data, "the result")
    return msgspec.Raw(data)


def _results_of(task_ids: Sequence[str]) -> list[object]:
    """Return ids as Celery writes results: each with its parent, which it need not know, and its members."""
    return [[[task_id, None], None] for task_id in task_ids]


def child_ids(children: Sequence[object]) -> list[str]:
    """Return the ids of the tasks in a record's ``children``; the members of a group in the group's place.

    A value that is not a result of Celery's is passed over.
    """
    ids: list[str] = []
    waiting = list(reversed(children))
    while waiting:
        match waiting.pop():
            case [[str(_), *_], [*members]]:
                waiting += reversed(members)
            case [[str(task_id), *_], *_] | [str(task_id), *_] | str(task_id):
                if _encodable(task_id) == task_id:
                    ids.append(task_id)
    return ids


def _encodable(text: str) -> str:
    """Return the text without lone surrogates, which file names in error messages may have."""
    return text.encode("utf-8", "backslashreplace").decode()


def decode_record(data: bytes) -> ResultRecord:
    """Return a stored record.

    Raises: ``ProtocolError`` when the bytes are not one, or are over the budget of this process.
    """
    now = budget.current()
    room = budget.Budget(now.max_bytes + _AROUND_BYTES, now.max_containers + _AROUND_CONTAINERS)
    budget.check_json(data, "the result record", room)
    try:
        return _decoder.decode(data)
    except msgspec.ValidationError as error:
        raise ProtocolError(f"{data[:100]!r} is not a result record: {error}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass  # NaN or a lone surrogate in the result, which msgspec does not read
    try:
        fields = json.loads(data)
        if isinstance(fields, dict):
            result = fields.get("result")
            fields = {name: _encodable(text) if type(text) is str else text for name, text in fields.items()}
            if "result" in fields:
                fields["result"] = msgspec.Raw(json.dumps(result).encode())
        return msgspec.convert(fields, ResultRecord)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise ProtocolError(f"result record {data[:100]!r} cannot be read: {error}") from error


class _Exception(msgspec.Struct, frozen=True):
    exc_type: str
    exc_message: object = None


class _Failure(msgspec.Struct, frozen=True):
    result: _Exception


_failure_decoder = msgspec.json.Decoder(_Failure)


def exception_text(record: bytes, otherwise: str) -> str:
    """Return the repr of the exception in a result record; ``otherwise`` when there is none."""
    try:
        found = _failure_decoder.decode(record).result
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return otherwise
    message = found.exc_message
    arguments = message if isinstance(message, list) else [message]
    return f"{found.exc_type}({', '.join(repr(each) for each in arguments)})"
