"""The app of a pool slot: what runs tasks there, whoever's framework they are written for.

taskd's own App and a Celery app each have a room beside this module that implements it.  Nothing else knows
the difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from taskd.app.life_hooks import Stage
from taskd.config.schedule import BeatEntryConfig
from taskd.config.schema import Config
from taskd.execution.ledger import Running
from taskd.pools.base import Target
from taskd.pools.opening import AsyncTarget
from taskd.sending.app_table import AppTable
from taskd.sending.celery_facts import AppFinding


@dataclass(frozen=True, slots=True)
class Workplace:
    """Where an app is to run its tasks."""

    config: Config
    #: The worker's table in the file.
    table: str
    #: As others see it: ``mail@host``.
    node_name: str
    #: Whether tasks run in children of this process, which are forked when the app stands.
    has_children: bool
    #: None where nothing is kept of what runs.
    ledger: Running | None = None


class TaskApp(Protocol):
    """The user's code, loaded into this process.  Nothing here raises for what a task does."""

    def table(self) -> AppTable:
        """Return what the worker's parent must know."""

    def run_stage(self, stage: Stage) -> None:
        """Call the user's functions of a moment in the life of this process or its worker.

        In a child of prefork: the process's own.  In a worker without children: all.
        """

    def rehearse(self) -> bool:
        """Have a process that is to be forked write to memory what runs write, where that is possible.

        Nothing outside of the process hears of it.  Returns whether it was possible.
        """

    @property
    def soft_limit(self) -> type[Exception]:
        """The exception by which a task hears of its soft time limit, which takes a text or nothing."""

    def blocking(self) -> Target:
        """Return what takes an encoded ``Assignment``, blocks, and returns the encoded ``Reply``."""

    def green(self) -> Target:
        """Return the same for greenlets: coroutines of all tasks share one event loop."""

    def awaitable(self) -> AsyncTarget:
        """Return the same for a running asyncio loop.

        Raises: ``StartError`` where the framework's tasks cannot run so.
        """


@dataclass(frozen=True, slots=True)
class ScheduleReading:
    """All entries of a schedule, and the wall-clock second up to which runs of an entry are decided."""

    entries: Mapping[str, BeatEntryConfig]
    since: Mapping[str, float] = field(default_factory=dict)
    #: Entries that cannot be sent, one text each, for beat's log and ``taskctl beat list``.
    problems: Sequence[str] = ()


class ScheduleAwayError(Exception):
    """A changing schedule cannot be read or written now; the text is for operators."""


class ChangingSchedule(Protocol):
    """A schedule beside the code, which others change while beat runs."""

    def read(self, *, again: bool) -> ScheduleReading | None:
        """Return the entries if they have changed; ``again``: in any case.

        Raises: any exception of the place where they are kept; its text goes to operators.
        """

    def ran(self, name: str) -> None:
        """Note that a run of an entry was sent.  Raises: as ``read``, to be called again."""

    def wait_s(self) -> float:
        """Return how long nothing is due that only a reading finds."""


class DeclaringApp(Protocol):
    """The user's code, loaded to be read."""

    def entries(self) -> ScheduleReading:
        """Return the periodic entries that the code declares."""

    def tasks(self) -> list[str]:
        """Return the names of all tasks, those of the framework included."""

    def queue_of(self, task: str) -> str:
        """Return the queue to which calls of a task go, empty where only the call decides that."""

    def changing(self, scheduler: str) -> ChangingSchedule | None:
        """Return the schedule that takes the place of ``entries``, None where the code has them all.

        ``scheduler`` is the class that the file names, empty to follow the app.
        """

    def findings(self, config: Config, table: str) -> Sequence[AppFinding]:
        """Return what cannot work here, or works otherwise, with the worker of this table."""
