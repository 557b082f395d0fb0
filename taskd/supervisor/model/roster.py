"""The programs that a configuration wants, and the way to start each.  Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from taskd.config.choosing import pool_kind
from taskd.config.control import ControlConfig
from taskd.config.kinds import PoolTrait
from taskd.config.process import ProcessConfig
from taskd.config.programs import ProgramConfig, WorkerConfig
from taskd.config.schedule import BeatConfig
from taskd.config.schema import Config
from taskd.host.safe_python import module_command
from taskd.supervisor.model.rolling import Size

WORKER = "worker"
BEAT = "beat"
PROGRAM = "program"
#: Imports the app of a worker, says how that went, and ends.
TRIAL = "trial"

#: Answers with the command of a program of this kind and name; the pool is empty for beat.
CommandTable = Callable[[str, str, str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """One program to keep running.

    ``group`` is what the configuration calls it: ``mail`` for ``mail-1`` and ``mail-2``; ``process`` is its
    table.
    """

    name: str
    kind: str
    group: str
    command: tuple[str, ...]
    process: ProcessConfig = field(default_factory=ProcessConfig)
    #: The variables of the table, and those that taskd adds.
    environment: Mapping[str, str] = field(default_factory=dict)
    #: It cannot send heartbeats while it works, so its silence means nothing.
    is_silent: bool = False
    #: It counts as ready after this time; None: when it says so on its status descriptor.
    ready_after_s: float | None = None
    #: It starts beside others that do its work, and gives way to them until it can do it too.
    in_background: bool = False
    #: The memory of ``process.legacy`` that its process inherits.
    ledger_fds: tuple[int, ...] = ()
    #: Others have users of their own and its table names none: it must not run as root.
    needs_user: bool = False

    @property
    def is_own(self) -> bool:
        """Whether it is a program of taskd, which knows SIGQUIT as cold."""
        return self.kind != PROGRAM

    @property
    def is_configured(self) -> bool:
        """Whether it is handed its share of the configuration."""
        return self.kind in {WORKER, BEAT, TRIAL}

    @property
    def reports(self) -> bool:
        """Whether it is given a status descriptor."""
        return self.ready_after_s is None


def commands(kind: str, name: str, pool: str) -> Sequence[str]:
    """Return the command that starts a program with the supervisor's own Python."""
    if kind == WORKER:
        return module_command(pool_kind(pool).entry, name)
    return module_command("taskd.beat")


def groups(config: Config) -> Mapping[str, Size]:
    """Return the groups of programs and how many of each, by their ``order``.

    Equal ones as in the file: workers, other programs, beat last.
    """
    found = {worker.name: (worker.order, _worker_size(worker)) for worker in config.workers.values()}
    for program in config.programs.values():
        # In its own slot, never beside itself: two exporters cannot share one port.
        found[program.name] = (program.order, Size(program.processes, 0, 1))
    if config.beat.runs:
        found[BEAT] = (config.beat.order, Size(count=1, max_surge=0, max_unavailable=1))  # never two
    in_order = sorted(found.items(), key=lambda item: item[1][0])
    return {name: size for name, (_, size) in in_order}


def _worker_size(worker: WorkerConfig) -> Size:
    if PoolTrait.IN_PLACE in worker.kind.traits:
        return Size(worker.processes, 0, max(1, worker.max_unavailable))
    return Size(worker.processes, worker.max_surge, worker.max_unavailable)


def program_name(group: str, slot: int) -> str:
    """Return the name of the program in a slot of a group; slots are numbered from 1."""
    return group if group == BEAT else f"{group}-{slot}"


def member(
    config: Config, group: str, slot: int, table: CommandTable = commands, *, default_user: str = ""
) -> ProgramSpec:
    """Return how the program in one slot of a group is started; ``default_user`` is for tables without."""
    name = program_name(group, slot)
    if group == BEAT:
        spec = _beat(config.beat, table)
    elif group in config.programs:
        spec = _program(config.programs[group], name)
    else:
        spec = _worker(config.workers[group], name, table)
    if spec.process.user:
        return spec
    if default_user:
        return replace(spec, process=replace(spec.process, user=default_user))
    tables = (*config.workers.values(), *config.programs.values(), config.beat)
    return replace(spec, needs_user=spec.is_own and any(each.user for each in tables))


def _worker(worker: WorkerConfig, name: str, table: CommandTable) -> ProgramSpec:
    return ProgramSpec(
        name=name,
        kind=WORKER,
        group=worker.name,
        command=_interpreted(worker.interpreter, table(WORKER, name, worker.pool)),
        process=worker,
        environment={**worker.environment, "TASKD_WORKER": worker.name},
        is_silent=PoolTrait.SILENT in worker.kind.traits,
    )


def _program(program: ProgramConfig, name: str) -> ProgramSpec:
    return ProgramSpec(
        name=name,
        kind=PROGRAM,
        group=program.name,
        command=program.command,
        process=program,
        environment=program.environment,
        is_silent=True,
        ready_after_s=program.ready_after if program.ready == "started" else None,
    )


def _beat(beat: BeatConfig, table: CommandTable) -> ProgramSpec:
    command = _interpreted(beat.interpreter, table(BEAT, BEAT, ""))
    return ProgramSpec(
        name=BEAT, kind=BEAT, group=BEAT, command=command, process=beat, environment=beat.environment
    )


def _interpreted(interpreter: str, command: Sequence[str]) -> tuple[str, ...]:
    return (interpreter or command[0], *command[1:])


def trial_of(config: Config, group: str, *, default_user: str = "") -> ProgramSpec:
    """Return what imports the app of a worker as the worker would, and ends."""
    spec = member(config, group, 1, default_user=default_user)
    worker = config.workers[group]
    command = module_command("taskd.worker.trial", worker.app or config.app, group, worker.directory)
    return replace(
        spec,
        kind=TRIAL,
        command=_interpreted(worker.interpreter, command),
        ready_after_s=0.0,
    )


def told_in_trial(config: Config, group: str) -> Config:
    """Return what a trial is told: what its worker is, and which queues the other workers have."""
    others = {name: WorkerConfig(name=name, queues=each.queues) for name, each in config.workers.items()}
    share = handed_to(config, group)
    return replace(share, workers={**others, **share.workers})


def handed_to(config: Config, group: str, *, default_user: str = "") -> Config:
    """Return what a worker or beat is told of a configuration: its own table, and what all have in common.

    Beat is told where apps are read, and the variables for that only of workers that run as its user.
    """
    share = share_of(config, group)
    if group in config.workers:
        return replace(share, app=share.workers[group].app)
    if group != BEAT:
        return Config()  # it is about to leave
    own = config.beat.user or default_user
    places = {}
    for name, worker in config.workers.items():
        user = worker.user or default_user
        places[name] = WorkerConfig(
            name=name,
            app=worker.app,
            directory=worker.directory,
            user=user,
            interpreter=worker.interpreter,
            environment=worker.environment if user == own else {},
        )
    return replace(share, workers=places)


def share_of(config: Config, group: str) -> Config:
    """Return the part of a configuration that the programs of one group depend on."""
    if group in config.programs:
        return Config(programs={group: config.programs[group]})
    worker = config.workers.get(group)
    if worker is None:
        return replace(config, workers={}, programs={}, control=ControlConfig())
    own = replace(worker, app=worker.app or config.app)
    return replace(
        config, app="", workers={group: own}, programs={}, beat=BeatConfig(), control=ControlConfig()
    )
