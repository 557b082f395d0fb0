"""Which programs a configuration wants, and how each is started.  Pure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from taskd.config.control import ControlConfig
from taskd.config.programs import WorkerConfig
from taskd.config.schedule import BeatConfig
from taskd.config.schema import Config
from taskd.supervisor.rolling import Bounds

WORKER = "worker"
BEAT = "beat"

#: Answers with the command of a program of this kind and name; the pool is empty for beat.
CommandTable = Callable[[str, str, str], Sequence[str]]
#: Workers whose process must be patched before anything else is imported have a program of their own.
_PROGRAMS = {"gevent": "taskd.worker.gevent_entry", "eventlet": "taskd.worker.eventlet_entry"}

# Their claims stay for a day with a worker that vanishes, unless a successor of the same name takes them
# back: so a solo worker is replaced in its own slot, never beside itself.
_IN_PLACE = frozenset({"solo"})


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


def groups(config: Config) -> Mapping[str, Bounds]:
    """Return the groups of programs, in the order of the file, beat last, and how many of each."""
    found = {worker.name: _worker_bounds(worker) for worker in config.workers.values()}
    if config.beat.run == "always" or (config.beat.run == "auto" and config.beat.schedule):
        found[BEAT] = Bounds(count=1, max_surge=0, max_unavailable=1)  # there is one beat, never two
    return found


def _worker_bounds(worker: WorkerConfig) -> Bounds:
    if worker.pool in _IN_PLACE:
        return Bounds(worker.processes, 0, max(1, worker.max_unavailable))
    return Bounds(worker.processes, worker.max_surge, worker.max_unavailable)


def program_name(group: str, slot: int) -> str:
    """Return the name of the program in a slot of a group; slots are numbered from 1."""
    return group if group == BEAT else f"{group}-{slot}"


def member(config: Config, group: str, slot: int, table: CommandTable = commands) -> ProgramSpec:
    """Return how the program in one slot of a group is started."""
    name = program_name(group, slot)
    if group == BEAT:
        return ProgramSpec(name=BEAT, kind=BEAT, group=BEAT, command=tuple(table(BEAT, BEAT, "")))
    worker = config.workers[group]
    return ProgramSpec(
        name=name,
        kind=WORKER,
        group=group,
        command=tuple(table(WORKER, name, worker.pool)),
        directory=worker.directory,
        environment={**worker.environment, "TASKD_WORKER": worker.name},
        is_silent=worker.pool == "solo",  # runs its tasks in the loop that would send them
    )


def share_of(config: Config, group: str) -> Config:
    """Return the part of a configuration that the programs of one group depend on."""
    worker = config.workers.get(group)
    if worker is None:
        return replace(config, workers={}, control=ControlConfig())
    own = replace(worker, app=worker.app or config.app)
    return replace(config, app="", workers={group: own}, beat=BeatConfig(), control=ControlConfig())
