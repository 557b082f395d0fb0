"""The message of one occurrence: Celery's task protocol 2, with an id that follows from entry and time.

The same occurrence always has the same task id, whoever sends it and however often: a UUID of version 5 over
the entry's name and the fire time.  The broker refuses a second one (``brokers/once.py``).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar, cast
from uuid import UUID, uuid5

import msgspec

from taskd.base import clock
from taskd.config.schedule import BeatEntryConfig
from taskd.protocol import serializers
from taskd.protocol.delivery import Outgoing
from taskd.sending.message import NO_LINEAGE, Lineage, task_message

#: The name space of occurrence ids; never change it, or an occurrence could have two ids.
_OCCURRENCES = UUID("6f3c8f0e-5a0b-5b1e-9d53-0d3f6a1c7b42")

_A = TypeVar("_A", tuple[object, ...], Mapping[str, object])

_BEAT_HEADERS = {"celery_beat_task": True}


def occurrence_id(name: str, fire_at: float) -> str:
    """Return the task id of one run of one entry; ``fire_at`` is the scheduled wall-clock second."""
    return str(uuid5(_OCCURRENCES, f"{name} {fire_at!r}"))


def request_id(name: str, number: int, requested_at: float) -> str:
    """Return the task id of a run that an operator asked for."""
    return str(uuid5(_OCCURRENCES, f"{name} on request {number} {requested_at!r}"))


def beat_message(entry: BeatEntryConfig, fire_at: float, task_id: str) -> Outgoing:
    """Return the message that runs the entry's task once, under the id of the occurrence.

    ``expires`` counts from ``fire_at``, so that the time an absent broker costs is part of the wait.
    Raises: ``SerializationError`` when the entry's arguments cannot be written as JSON.
    """
    # Headers that the task protocol has go to their places; others lie flat beside them.
    headers = dict(entry.headers)
    hard_s, soft_s = headers.pop("timelimit", (None, None))
    ignore_result = headers.pop("ignore_result", None)
    shadow = headers.pop("shadow", None)
    return task_message(
        entry.task,
        _with_types(entry.args),
        _with_types(entry.kwargs),
        task_id=task_id,
        queue=entry.queue,
        priority=entry.priority,
        expires=clock.iso(fire_at + entry.expires) if entry.expires else None,
        time_limits=(hard_s, soft_s),
        ignore_result=ignore_result,
        lineage=Lineage(shadow=shadow) if shadow else NO_LINEAGE,
        extra={**headers, **_BEAT_HEADERS},
    )


def _with_types(arguments: _A) -> _A:
    """Return arguments with the dates and UUIDs that an app declared: an entry has them as JSON."""
    data = msgspec.json.encode(arguments)
    return cast(_A, serializers.loads(data)) if serializers.MARK in data else arguments
