"""The tables of what the daemon starts: [worker.NAME] and [program.NAME]."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from taskd.config.built_in import POOLS
from taskd.config.choosing import pool_kind
from taskd.config.installed import POOLS_GROUP
from taskd.config.kinds import PoolKind
from taskd.config.option import Applies, ValueForm, option
from taskd.config.process import ProcessConfig

DEFAULT_QUEUE = "default"
PRELOADS = ("auto", "true", "false")
MEMORY_MEASURES = ("rss", "pss")
READINESS = ("started", "reported")
STOP_SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL")


@dataclass(frozen=True, slots=True)
class WorkerConfig(ProcessConfig):
    """[worker.NAME]: one worker program, or several alike."""

    name: str
    queues: tuple[str, ...] = option(
        ValueForm.TEXT_LIST, "Queues that the worker consumes from.", factory=lambda: (DEFAULT_QUEUE,)
    )
    node: str = option(
        ValueForm.TEXT,
        'Name by which remote control and monitors know the worker, such as "celery@%h": %h is the host, '
        "%n and %d are its two parts. Allowed for one process. Empty means PROGRAM@host.",
        default="",
    )
    app: str = option(
        ValueForm.TEXT, 'Task code, as "package.module:attribute". Empty means the top-level app.', default=""
    )
    pool: str = option(
        ValueForm.CHOICE,
        "How the worker runs tasks.",
        default="prefork",
        choices=tuple(POOLS),
        group=POOLS_GROUP,
    )
    concurrency: int = option(
        ValueForm.INTEGER,
        "Number of tasks that one process runs at the same time. 0 means one per processor, or 100 on "
        "asyncio, gevent and eventlet.",
        default=0,
        minimum=0,
        maximum=10000,
    )
    min_concurrency: int = option(
        ValueForm.INTEGER,
        "Number of slots that the pool starts with; under load it grows up to concurrency. 0 keeps it at "
        "concurrency.",
        default=0,
        minimum=0,
        maximum=10000,
    )
    shrink_after: float = option(
        ValueForm.DURATION,
        "A pool that has grown shrinks when it could have done with fewer slots for this long.",
        default=30.0,
        minimum=0.0,
    )
    preload: str = option(
        ValueForm.CHOICE,
        "Whether prefork children share one import of the task code. With auto they do unless the code "
        "starts threads or makes an event loop. With false each child imports it. With true code that "
        "starts threads is refused.",
        default="auto",
        choices=PRELOADS,
    )
    max_tasks_per_child: int = option(
        ValueForm.INTEGER,
        "Number of tasks after which a prefork child is replaced. 0 turns this off.",
        default=0,
        minimum=0,
    )
    max_memory_per_child: int = option(
        ValueForm.SIZE,
        "Memory above which a prefork child is replaced between two tasks. 0 turns this off.",
        default=0,
    )
    memory_measure: str = option(
        ValueForm.CHOICE,
        "Measure that max_memory_per_child limits: rss, or pss, which splits shared memory fairly among "
        "the children.",
        default="rss",
        choices=MEMORY_MEASURES,
    )
    max_age_per_child: float = option(
        ValueForm.DURATION,
        "Age above which a prefork child is replaced between two tasks. 0 turns this off.",
        default=0.0,
        minimum=0.0,
    )
    processes: int = option(
        ValueForm.INTEGER,
        "Number of processes of this worker.",
        default=1,
        minimum=1,
        maximum=1000,
        applies=Applies.LIVE,
    )
    min_processes: int = option(
        ValueForm.INTEGER,
        "Number of processes to start with; under load the worker grows up to processes. 0 keeps it at "
        "processes.",
        default=0,
        minimum=0,
        maximum=1000,
        applies=Applies.LIVE,
    )
    target_latency: float = option(
        ValueForm.DURATION,
        "With min_processes: time within which a message that arrives should begin.",
        default=2.0,
        minimum=0.01,
        applies=Applies.LIVE,
    )
    weight: float = option(
        ValueForm.NUMBER,
        "With min_processes: share of the machine where it cannot give every group all that it needs.",
        default=1.0,
        minimum=0.01,
        applies=Applies.LIVE,
    )
    max_surge: int = option(
        ValueForm.INTEGER,
        "Number of processes above processes that may exist while a roll replaces them one after the "
        "other. Not for solo.",
        default=1,
        minimum=0,
        maximum=1000,
        applies=Applies.LIVE,
    )
    max_unavailable: int = option(
        ValueForm.INTEGER,
        "Number of processes that may be missing while a roll replaces them.",
        default=0,
        minimum=0,
        maximum=1000,
        applies=Applies.LIVE,
    )
    prefetch: int | str = option(
        ValueForm.PREFETCH,
        '"auto" claims about 100 ms of work ahead, and gives back messages that then wait behind long '
        "tasks. A number claims that many messages and keeps them.",
        default="auto",
    )
    lease: float = option(
        ValueForm.DURATION, "How long a silent worker keeps its claims.", default=10.0, minimum=1.0
    )
    max_deaths: int = option(
        ValueForm.INTEGER,
        "Number of children that a task may kill before it is parked as a dead letter.",
        default=3,
        minimum=1,
    )
    rate_limits: Mapping[str, str] = option(
        ValueForm.RATES,
        "How many tasks of a name each process may begin in a given time. Replaces the rate_limit of the "
        "task itself.",
        factory=dict,
        applies=Applies.LIVE,
    )
    soft_time_limit: float = option(
        ValueForm.DURATION, "Default soft time limit of a task. 0 means no limit.", default=0.0, minimum=0.0
    )
    time_limit: float = option(
        ValueForm.DURATION, "Default hard time limit of a task. 0 means no limit.", default=0.0, minimum=0.0
    )
    soft_shutdown_timeout: float = option(
        ValueForm.DURATION,
        "Time before the end of stop_timeout at which running tasks get SoftTimeLimitExceeded. 0 turns "
        "this off.",
        default=0.0,
        minimum=0.0,
    )
    terminate_soft_timeout: float = option(
        ValueForm.DURATION,
        "Time from the SoftTimeLimitExceeded that revoke --terminate raises to its signal. 0 signals at "
        "once.",
        default=0.0,
        minimum=0.0,
    )
    terminate_timeout: float = option(
        ValueForm.DURATION, "Time from the signal of revoke --terminate to KILL.", default=5.0, minimum=0.0
    )
    events: bool = option(
        ValueForm.BOOLEAN,
        "Whether the worker sends task events from the start if a monitor listens. Remote control can "
        "switch them, too.",
        default=False,
    )
    mingle: bool = option(
        ValueForm.BOOLEAN,
        "Whether the worker asks the workers of other hosts at its start for revoked tasks. Never done "
        "with a broker that serves one host.",
        default=True,
    )
    gossip: bool = option(
        ValueForm.BOOLEAN,
        "Whether the worker follows the heartbeats of workers on other hosts. Never done with a broker "
        "that serves one host.",
        default=True,
    )
    interpreter: str = option(
        ValueForm.TEXT,
        "Python that runs the worker, from another virtualenv that also has taskd. Empty means the daemon's.",
        default="",
    )

    @property
    def kind(self) -> PoolKind:
        """The kind of its pool.  Raises: ``KindError`` for a name that no pool has."""
        return pool_kind(self.pool)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramConfig(ProcessConfig):
    """[program.NAME]: any other command that is kept running, such as Flower or an exporter."""

    name: str
    command: tuple[str, ...] = option(
        ValueForm.TEXT_LIST,
        "Command to run, without a shell. The first word is a path, or is looked up on PATH.",
    )
    ready: str = option(
        ValueForm.CHOICE,
        "When the program counts as ready. started: after it has run for ready_after. reported: after it "
        "has written a status line.",
        default="started",
        choices=READINESS,
        applies=Applies.LIVE,
    )
    ready_after: float = option(
        ValueForm.DURATION,
        'How long a program with ready = "started" must run until it is ready. A program that ends '
        "earlier has failed to start.",
        default=1.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    processes: int = option(
        ValueForm.INTEGER,
        "Number of processes of this program.",
        default=1,
        minimum=1,
        maximum=1000,
        applies=Applies.LIVE,
    )
    stop_signal: str = option(
        ValueForm.CHOICE,
        "Signal of a warm stop. The next step is SIGKILL.",
        default="TERM",
        choices=STOP_SIGNALS,
        applies=Applies.LIVE,
    )
    stop_timeout: float | None = option(
        ValueForm.DURATION, "How long a warm stop waits.", default=10.0, minimum=0.0, applies=Applies.LIVE
    )


def slots(worker: WorkerConfig) -> int:
    """Return how many tasks one process runs at the same time, with the meaning of ``concurrency = 0``."""
    kind = worker.kind
    wanted = worker.concurrency or kind.default_slots or len(os.sched_getaffinity(0))
    return min(wanted, kind.most_slots or wanted)
