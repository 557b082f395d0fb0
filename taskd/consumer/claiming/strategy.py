"""Decides on one delivery, by its headers alone.

Pure: everything it needs comes in, a verdict goes out; ``intaking`` carries it out.  The order of
the questions is Celery's (unknown, expired, revoked, not yet due), so that the same message means
the same here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskd.base.errors import ProtocolError
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import TaskHeaders, UnclearTask, decode_headers
from taskd.revocations.known import Revocations
from taskd.sending.options import TaskOptions

#: A message that is due within this many seconds runs now: the round trip costs as much.
_NEARLY_DUE_S = 0.001


@dataclass(frozen=True, slots=True)
class Runnable:
    """Give it to the pool."""

    headers: TaskHeaders
    options: TaskOptions


@dataclass(frozen=True, slots=True)
class Malformed:
    """It is not a task message that can be read; to the dead-letter queue."""

    reason: str
    #: As much of the headers as could be understood, when the task's id is known: whoever waits is answered.
    headers: TaskHeaders | None = None


@dataclass(frozen=True, slots=True)
class Unknown:
    """No task of that name is registered; to the dead-letter queue."""

    headers: TaskHeaders


@dataclass(frozen=True, slots=True)
class Expired:
    """Its time to run is over."""

    headers: TaskHeaders


@dataclass(frozen=True, slots=True)
class Revoked:
    """Somebody revoked it."""

    headers: TaskHeaders


@dataclass(frozen=True, slots=True)
class NotDue:
    """Back to the broker until the wall-clock second ``due_at``."""

    due_at: float


#: Every verdict but to run.
Refusal = Malformed | Unknown | Expired | Revoked | NotDue
Verdict = Runnable | Refusal


def decide(delivery: Delivery, tasks: Mapping[str, TaskOptions], revoked: Revocations, now: float) -> Verdict:
    """Return the verdict on one delivery; ``now`` is wall-clock time."""
    try:
        headers = decode_headers(delivery.headers)
    except ProtocolError as error:
        return Malformed(str(error), _known_of(error, delivery))
    options = tasks.get(headers.task)
    if options is None:
        return Unknown(headers)
    if headers.expired(now):
        return Expired(headers)
    if revoked.covers(headers):
        return Revoked(headers)
    if headers.eta_at is not None and headers.eta_at > now + _NEARLY_DUE_S:
        return NotDue(headers.eta_at)
    return Runnable(headers, options)


def _known_of(error: ProtocolError, delivery: Delivery) -> TaskHeaders | None:
    """Return what is known of a task: at least its id, which producers write into the properties, too."""
    if isinstance(error, UnclearTask) and error.known is not None:
        return error.known
    task_id = delivery.task_id or delivery.correlation_id
    return TaskHeaders(task="", id=task_id) if task_id else None
