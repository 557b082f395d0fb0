"""The tables of what the daemon starts: [worker.NAME] and [program.NAME]."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from taskd.config.option import Applies, Kind, option
from taskd.config.process import ProcessConfig

DEFAULT_QUEUE = "default"
POOLS = ("prefork", "threads", "asyncio", "gevent", "eventlet", "solo")
#: Pools whose number of slots can follow the load.
RESIZABLE_POOLS = ("prefork", "threads")
# A waiting task costs next to nothing there.
_COOPERATIVE_POOLS = ("asyncio", "gevent", "eventlet")
PRELOADS = ("auto", "true", "false")
MEMORY_MEASURES = ("rss", "pss")
READINESS = ("started", "reported")
STOP_SIGNALS = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL")


@dataclass(frozen=True, slots=True)
class WorkerConfig(ProcessConfig):
    """[worker.NAME]: one worker program, or several alike."""

    name: str
    queues: tuple[str, ...] = option(
        Kind.TEXT_LIST, "queues to consume from", factory=lambda: (DEFAULT_QUEUE,)
    )
    node: str = option(
        Kind.TEXT,
        'how remote control and monitors know it, such as "celery@%h" (%h host, %n and %d its two parts); '
        "for one process; empty is PROGRAM@host",
        default="",
    )
    app: str = option(
        Kind.TEXT, 'the task code, "package.module:attribute"; empty takes the top-level app', default=""
    )
    pool: str = option(Kind.CHOICE, "how tasks are run", default="prefork", choices=POOLS)
    concurrency: int = option(
        Kind.INTEGER,
        "tasks at the same time; 0 means one per processor, or 100 on asyncio, gevent and eventlet",
        default=0,
        minimum=0,
        maximum=10000,
    )
    min_concurrency: int = option(
        Kind.INTEGER,
        "the pool begins with so many and grows up to concurrency by load; 0 keeps it at concurrency",
        default=0,
        minimum=0,
        maximum=10000,
    )
    shrink_after: float = option(
        Kind.DURATION,
        "a pool that has grown shrinks when so long fewer tasks would have done",
        default=30.0,
        minimum=0.0,
    )
    preload: str = option(
        Kind.CHOICE,
        "whether prefork children share one import of the task code: auto where it starts no threads; "
        "false imports it in each child; true refuses code that starts threads",
        default="auto",
        choices=PRELOADS,
    )
    max_tasks_per_child: int = option(
        Kind.INTEGER, "a prefork child is replaced after so many tasks; 0 never", default=0, minimum=0
    )
    max_memory_per_child: int = option(
        Kind.SIZE, "a prefork child that holds more is replaced between two tasks; 0 never", default=0
    )
    memory_measure: str = option(
        Kind.CHOICE,
        "what max_memory_per_child limits: rss, or pss, the fair share of what children have in common",
        default="rss",
        choices=MEMORY_MEASURES,
    )
    max_age_per_child: float = option(
        Kind.DURATION,
        "a prefork child that is older is replaced between two tasks; 0 never",
        default=0.0,
        minimum=0.0,
    )
    processes: int = option(
        Kind.INTEGER,
        "how many workers of this kind",
        default=1,
        minimum=1,
        maximum=1000,
        applies=Applies.LIVE,
    )
    min_processes: int = option(
        Kind.INTEGER,
        "begin with so many workers and follow the load up to processes; 0 keeps processes",
        default=0,
        minimum=0,
        maximum=1000,
        applies=Applies.LIVE,
    )
    target_latency: float = option(
        Kind.DURATION,
        "with min_processes: a message that arrives should begin within this time",
        default=2.0,
        minimum=0.01,
        applies=Applies.LIVE,
    )
    weight: float = option(
        Kind.NUMBER,
        "with min_processes: share of the box where it can not give every group what it needs",
        default=1.0,
        minimum=0.01,
        applies=Applies.LIVE,
    )
    max_surge: int = option(
        Kind.INTEGER,
        "how many more than processes may exist while they are replaced one after the other; not for solo",
        default=1,
        minimum=0,
        maximum=1000,
        applies=Applies.LIVE,
    )
    max_unavailable: int = option(
        Kind.INTEGER,
        "how many of processes may be missing while they are replaced",
        default=0,
        minimum=0,
        maximum=1000,
        applies=Applies.LIVE,
    )
    prefetch: int | str = option(
        Kind.PREFETCH,
        '"auto" claims about 100 ms of work ahead and gives back what then waits behind long tasks; '
        "a number claims that many and keeps them",
        default="auto",
    )
    lease: float = option(
        Kind.DURATION, "how long claims stay with a silent worker", default=10.0, minimum=1.0
    )
    max_deaths: int = option(
        Kind.INTEGER, "children a task may kill before it is parked as a dead letter", default=3, minimum=1
    )
    rate_limits: Mapping[str, str] = option(
        Kind.RATES,
        "how many tasks of a name each process may begin, in the place of the task's own rate_limit",
        factory=dict,
        applies=Applies.LIVE,
    )
    soft_time_limit: float = option(
        Kind.DURATION, "default soft limit of a task; 0 none", default=0.0, minimum=0.0
    )
    time_limit: float = option(
        Kind.DURATION, "default hard limit of a task; 0 none", default=0.0, minimum=0.0
    )
    soft_shutdown_timeout: float = option(
        Kind.DURATION,
        "in the last part of stop_timeout, so long, running tasks get SoftTimeLimitExceeded; 0 never",
        default=0.0,
        minimum=0.0,
    )
    terminate_soft_timeout: float = option(
        Kind.DURATION,
        "revoke --terminate raises SoftTimeLimitExceeded so long before it signals; 0 signals at once",
        default=0.0,
        minimum=0.0,
    )
    terminate_timeout: float = option(
        Kind.DURATION, "from the signal of revoke --terminate to KILL", default=5.0, minimum=0.0
    )
    events: bool = option(
        Kind.BOOLEAN,
        "send task events from the start, if a monitor listens; remote control switches them too",
        default=False,
    )
    mingle: bool = option(
        Kind.BOOLEAN,
        "ask the workers of other hosts at start what is revoked; never with a broker of one host",
        default=True,
    )
    gossip: bool = option(
        Kind.BOOLEAN,
        "follow the workers of other hosts by their heartbeats; never with a broker of one host",
        default=True,
    )
    interpreter: str = option(
        Kind.TEXT,
        "Python that runs it, of another virtualenv that has taskd too; empty takes the daemon's",
        default="",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgramConfig(ProcessConfig):
    """[program.NAME]: any other command that is kept running, such as Flower or an exporter."""

    name: str
    command: tuple[str, ...] = option(
        Kind.TEXT_LIST, "what is run, without a shell; the first is a path or is found on PATH"
    )
    ready: str = option(
        Kind.CHOICE,
        "started: ready when it has run for ready_after; reported: when it has written a status line",
        default="started",
        choices=READINESS,
        applies=Applies.LIVE,
    )
    ready_after: float = option(
        Kind.DURATION,
        "see ready; who dies earlier has failed to start",
        default=1.0,
        minimum=0.0,
        applies=Applies.LIVE,
    )
    processes: int = option(
        Kind.INTEGER, "how many of this kind", default=1, minimum=1, maximum=1000, applies=Applies.LIVE
    )
    stop_signal: str = option(
        Kind.CHOICE,
        "signal of a warm stop; the next step is SIGKILL",
        default="TERM",
        choices=STOP_SIGNALS,
        applies=Applies.LIVE,
    )
    stop_timeout: float | None = option(
        Kind.DURATION, "how long a warm stop waits", default=10.0, minimum=0.0, applies=Applies.LIVE
    )


def slots(worker: WorkerConfig) -> int:
    """Return how many tasks one process runs at the same time, with the meaning of ``concurrency = 0``."""
    if worker.pool == "solo":
        return 1
    if worker.concurrency:
        return worker.concurrency
    return 100 if worker.pool in _COOPERATIVE_POOLS else len(os.sched_getaffinity(0))
