"""The tables of the scheduler: [beat] and [beat.schedule.NAME]."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskd.config.option import Kind, option
from taskd.config.programs import DEFAULT_QUEUE


@dataclass(frozen=True, slots=True)
class BeatEntryConfig:
    """[beat.schedule.NAME]: a task that is sent periodically."""

    name: str
    task: str = option(Kind.TEXT, "name of the task to send")
    every: float | None = option(
        Kind.DURATION, "interval; give either every or cron", default=None, minimum=0.01
    )
    cron: str = option(Kind.CRON, "five cron fields; give either every or cron", default="")
    timezone: str = option(Kind.ZONE, "zone in which cron is read", default="UTC")
    args: tuple[Any, ...] = option(Kind.ANY_LIST, "positional arguments", factory=tuple)
    kwargs: Mapping[str, Any] = option(Kind.ANY_MAP, "keyword arguments", factory=dict)
    queue: str = option(Kind.TEXT, "queue to send to", default=DEFAULT_QUEUE)
    priority: int = option(Kind.INTEGER, "0 to 9, 9 is served first", default=0, minimum=0, maximum=9)
    expires: float = option(
        Kind.DURATION, "a run that waited longer is dropped; 0 never", default=0.0, minimum=0.0
    )


@dataclass(frozen=True, slots=True)
class BeatConfig:
    """[beat]: the embedded scheduler; it runs when the schedule has entries."""

    schedule: Mapping[str, BeatEntryConfig] = field(default_factory=dict)
