"""Events on the wire: what Celery's workers and clients tell monitors about tasks and workers.  Pure.

One struct for each type of event, with Celery's fields; ``EVENTS`` is the table of them.  A message's
body is one event, or a list of events of one group, sent with the routing key ``task.multi``.
A receiver takes any event that has the common fields: applications send types of their own.

``utcoffset`` tells the sender's time zone and is not to be applied: ``timestamp`` is seconds since the
epoch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec

from taskd.base.errors import SerializationError
from taskd.protocol import budget
from taskd.protocol.lamport import MAX as MAX_CLOCK

CONTENT_TYPE = "application/json"
#: The fields in which Celery's monitors read about the software of a worker.
SOFTWARE = "taskd"

Group = Literal["task", "worker", "beat"]


class Event(msgspec.Struct, frozen=True, kw_only=True, gc=False, tag_field="type"):
    """The fields of all events.  ``hostname`` is the sender's node name; ``clock`` is Lamport's."""

    hostname: str
    timestamp: float
    clock: int
    pid: int
    utcoffset: int


class WorkerEvent(Event, frozen=True, kw_only=True, gc=False):
    """The load of a worker; ``freq`` is seconds between its heartbeats."""

    freq: float
    active: int
    processed: int
    loadavg: tuple[float, float, float]
    sw_ident: str
    sw_ver: str
    sw_sys: str


class WorkerOnline(WorkerEvent, frozen=True, kw_only=True, gc=False, tag="worker-online"):
    """A worker consumes."""


class WorkerHeartbeat(WorkerEvent, frozen=True, kw_only=True, gc=False, tag="worker-heartbeat"):
    """A worker is alive; it counts as lost after two intervals of silence."""


class WorkerOffline(WorkerEvent, frozen=True, kw_only=True, gc=False, tag="worker-offline"):
    """A worker has ended."""


class WorkerElect(Event, frozen=True, kw_only=True, gc=False, tag="worker-elect"):
    """A worker asks who shall do something; Celery's gossip."""

    id: str
    topic: str
    action: object
    cver: int = 1


class WorkerElectAck(Event, frozen=True, kw_only=True, gc=False, tag="worker-elect-ack"):
    """A worker has heard the question."""

    id: str


class TaskEvent(Event, frozen=True, kw_only=True, gc=False):
    """Something about one task."""

    uuid: str


class TaskSent(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-sent"):
    """A client has sent a task; ``args`` and ``kwargs`` are reprs."""

    name: str
    args: str
    kwargs: str
    root_id: str | None
    parent_id: str | None
    retries: int
    eta: str | None
    expires: str | None
    queue: str
    exchange: str
    routing_key: str


class TaskReceived(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-received"):
    """A worker has claimed a task and will run it."""

    name: str
    args: str | None
    kwargs: str | None
    root_id: str | None
    parent_id: str | None
    retries: int
    eta: str | None
    expires: str | None


class TaskStarted(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-started"):
    """A task has begun to run."""


class TaskSucceeded(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-succeeded"):
    """A task has returned; ``result`` is a repr, ``runtime`` in seconds."""

    result: str
    runtime: float


class TaskFailed(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-failed"):
    """A task has failed for good; ``exception`` is a repr."""

    exception: str
    traceback: str | None


class TaskRetried(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-retried"):
    """A task will run again."""

    exception: str
    traceback: str | None


class TaskRevoked(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-revoked"):
    """A task did not run, or was ended, on request or because it had expired."""

    terminated: bool
    signum: int | None
    expired: bool


class TaskRefused(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-rejected"):
    """A task has refused its message."""

    requeue: bool


class TaskCancelled(TaskEvent, frozen=True, kw_only=True, gc=False, tag="task-cancelled"):
    """A worker that ends at once has ended a task, which will run again elsewhere."""


class BeatEvent(Event, frozen=True, kw_only=True, gc=False):
    """A run of an entry of beat; Celery has no such event.  ``due`` is when it was due, ``late`` in seconds.

    ``reason``: why skipped or failed, or what had delayed or caused it; empty for none.
    """

    entry: str
    task: str
    due: float
    late: float
    reason: str


class BeatSent(BeatEvent, frozen=True, kw_only=True, gc=False, tag="beat-sent"):
    """Beat has sent a task."""

    uuid: str


class BeatSkipped(BeatEvent, frozen=True, kw_only=True, gc=False, tag="beat-skipped"):
    """Beat has left out ``count`` runs; ``due`` is that of the first."""

    count: int


class BeatFailed(BeatEvent, frozen=True, kw_only=True, gc=False, tag="beat-failed"):
    """A run cannot be sent."""


#: Every event that taskd sends, by its type.
EVENTS: Mapping[str, type[Event]] = {
    str(struct.__struct_config__.tag): struct
    for struct in (
        WorkerOnline, WorkerHeartbeat, WorkerOffline, WorkerElect, WorkerElectAck,
        TaskSent, TaskReceived, TaskStarted, TaskSucceeded, TaskFailed, TaskRetried, TaskRevoked,
        TaskRefused, TaskCancelled, BeatSent, BeatSkipped, BeatFailed,
    )
}  # fmt: skip


def type_of(event: Event) -> str:
    """Return the event's type, such as ``task-received``."""
    return str(event.__struct_config__.tag)


def routing_key(event_type: str) -> str:
    """Return what an event of this type is published with, such as ``task.received``."""
    return event_type.replace("-", ".")


def multi_key(group: Group) -> str:
    """Return what a list of events of this group is published with."""
    return f"{group}.multi"


class _Headers(msgspec.Struct, frozen=True):
    hostname: str


_encoder = msgspec.json.Encoder()


def encode(events: Event | Sequence[Event]) -> bytes:
    """Return the body of a message with one event, or with a list of them."""
    return _encoder.encode(events)


def encode_headers(hostname: str) -> bytes:
    """Return the headers of a message with events."""
    return _encoder.encode(_Headers(hostname))


class Seen(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A received event: the fields that all have, and ``raw``, the whole of it.

    ``pid`` is 0 and ``clock`` too where the sender has not said them.
    """

    type: Annotated[str, msgspec.Meta(min_length=1, max_length=200)]
    hostname: Annotated[str, msgspec.Meta(min_length=1, max_length=500)]
    #: Up to the year 9999.
    timestamp: Annotated[float, msgspec.Meta(ge=0, le=253402300799)]
    clock: Annotated[int, msgspec.Meta(ge=0, le=MAX_CLOCK)] = 0
    pid: Annotated[int, msgspec.Meta(ge=0, le=2**31)] = 0
    utcoffset: Annotated[float, msgspec.Meta(ge=-26, le=26)] = 0.0
    raw: Mapping[str, object] = msgspec.field(default_factory=dict)

    @property
    def group(self) -> str:
        """Return the first word of the type, such as ``task``."""
        return self.type.partition("-")[0]

    def text(self, name: str) -> str:
        """Return a field that should be text; empty when it is missing or something else."""
        value = self.raw.get(name)
        return value if isinstance(value, str) else ""

    def number(self, name: str) -> float | None:
        """Return a field that should be a finite number; None when it is missing or something else."""
        value = self.raw.get(name)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            return None
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None


def decode(body: bytes, content_type: str) -> tuple[list[Seen], list[str]]:
    """Read the events of one message; beside them, one line for each thing in it that is not an event.

    Never raises: messages of others on the exchange are not to be trusted.
    """
    if content_type != CONTENT_TYPE:
        return [], [f"content type {content_type!r} is not accepted; expected {CONTENT_TYPE}"]
    try:
        budget.check_json(body, "the message of events")
        value = msgspec.json.decode(body)
    except SerializationError as error:
        return [], [str(error)]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return [], [f"{body[:200]!r} is not JSON: {error}"]
    seen = []
    problems = []
    for each in value if isinstance(value, list) else [value]:
        try:
            seen.append(_seen(each))
        except (msgspec.ValidationError, OverflowError) as error:
            problems.append(f"{str(each)[:200]!r} is not an event: {error}")
    return seen, problems


def _seen(value: object) -> Seen:
    if not isinstance(value, dict):
        raise msgspec.ValidationError(f"expected an object, not {type(value).__name__}")
    common = {name: value[name] for name in ("type", "hostname", "timestamp") if name in value}
    common.update(
        {name: value[name] for name in ("clock", "pid", "utcoffset") if value.get(name) is not None}
    )
    return msgspec.structs.replace(msgspec.convert(common, Seen), raw=value)
