"""To whom a worker speaks: its supervisor, and the monitors and workers that share its broker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskd.base.loop import Loop
from taskd.events.dispatcher import Dispatcher
from taskd.protocol.lamport import LamportClock
from taskd.protocol.status import StatusLine


@dataclass(frozen=True, slots=True)
class Voice:
    """The ways to say something."""

    #: To the supervisor.
    report: Callable[[StatusLine], None]
    #: To monitors and neighbours.
    dispatcher: Dispatcher
    #: The clock by which neighbours order what they hear.
    logical: LamportClock

    @classmethod
    def of(
        cls, loop: Loop, node_name: str, report: Callable[[StatusLine], None], *, tasks_enabled: bool
    ) -> Voice:
        """Return the voice of a node; ``tasks_enabled``: it tells of its tasks if somebody listens."""
        logical = LamportClock()
        return cls(report, Dispatcher(loop, node_name, logical, tasks_enabled=tasks_enabled), logical)
