"""Which programs a configuration wants, and how each is started.  Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from taskd.config.schema import Config

WORKER = "worker"
BEAT = "beat"

#: Answers with the command of a program of this kind and name; the pool is empty for beat.
CommandTable = Callable[[str, str, str], Sequence[str]]
#: Workers whose process must be patched before anything else is imported have a program of their own.
_PROGRAMS = {"gevent": "taskd.worker.gevent_entry", "eventlet": "taskd.worker.eventlet_entry"}


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """One program to keep running.

    ``group`` is what the configuration calls it: ``mail`` for ``mail-1`` and ``mail-2``.
    """

    name: str
    kind: str
    group: str
    command: tuple[str, ...]
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    #: It cannot send heartbeats while it works, so its silence means nothing.
    is_silent: bool = False


def commands(kind: str, name: str, pool: str) -> Sequence[str]:
    """Return the command that starts a program with the supervisor's own Python."""
    if kind == WORKER:
        return (sys.executable, "-m", _PROGRAMS.get(pool, "taskd.worker"), name)
    return (sys.executable, "-m", "taskd.beat")


def roster(config: Config, table: CommandTable = commands) -> tuple[ProgramSpec, ...]:
    """Return the programs in the order of the file, beat last."""
    specs = [
        ProgramSpec(
            name=f"{worker.name}-{number}",
            kind=WORKER,
            group=worker.name,
            command=tuple(table(WORKER, f"{worker.name}-{number}", worker.pool)),
            directory=worker.directory,
            environment={**worker.environment, "TASKD_WORKER": worker.name},
            is_silent=worker.pool == "solo",  # runs its tasks in the loop that would send them
        )
        for worker in config.workers.values()
        for number in range(1, worker.processes + 1)
    ]
    if config.beat.run == "always" or (config.beat.run == "auto" and config.beat.schedule):
        specs.append(ProgramSpec(name=BEAT, kind=BEAT, group=BEAT, command=tuple(table(BEAT, BEAT, ""))))
    return tuple(specs)
