"""The TOML file as frozen dataclasses: one per table, one field per key.

``option`` carries what a reader needs beside the type: a line of help, the kind of value (which
unit is parsed), bounds and choices.  Nothing else describes the configuration; the loader,
``taskd --check`` and the reference page read it from here.

Durations are float seconds (written ``"30s"``, ``"5m"``, or a bare number), sizes are bytes
(``"512MiB"``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field
from enum import Enum
from typing import Any


class Kind(Enum):
    """How the TOML value of a key is read."""

    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DURATION = "duration"  # -> float seconds
    SIZE = "size"  # -> int bytes
    CHOICE = "choice"  # one of ``choices``
    TEXT_LIST = "list of texts"
    TEXT_MAP = "table of texts"
    ANY_LIST = "list"
    ANY_MAP = "table"
    PREFETCH = "prefetch"  # "auto" or a whole number from 0
    CRON = "cron"  # five fields
    ZONE = "zone"  # IANA time zone
    URL = "url"  # ``choices`` are the schemes


def option(
    kind: Kind,
    help_text: str,
    *,
    default: Any = MISSING,
    factory: Any = MISSING,
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] = (),
    secret: bool = False,
) -> Any:
    """Declare one key; without a default it is required."""
    metadata = {
        "kind": kind,
        "help": help_text,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "secret": secret,
    }
    shown = not secret  # a configuration in a log line must not carry a password
    if factory is not MISSING:
        return field(default_factory=factory, metadata=metadata, repr=shown)
    if default is not MISSING:
        return field(default=default, metadata=metadata, repr=shown)
    return field(metadata=metadata, repr=shown)


DEFAULT_QUEUE = "default"
POOLS = ("prefork", "threads", "asyncio", "gevent", "eventlet", "solo")
#: Pools whose number of slots can follow the load.
RESIZABLE_POOLS = ("prefork", "threads")
MEMORY_MEASURES = ("rss", "pss")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("auto", "plain", "json", "journal")
BROKER_SCHEMES = ("sqlite", "memory")
RESULT_SCHEMES = ("sqlite", "memory", "null")


@dataclass(frozen=True, slots=True)
class SupervisorConfig:
    """[supervisor]: the daemon itself."""

    control_socket: str = option(
        Kind.TEXT, "Unix socket that taskctl talks to", default="/run/taskd/taskd.sock"
    )
    stop_timeout: float = option(
        Kind.DURATION, "how long a warm stop waits for running tasks", default=300.0, minimum=0.0
    )
    start_timeout: float = option(
        Kind.DURATION, "how long a program may take until it is ready", default=60.0, minimum=0.1
    )
    heartbeat_timeout: float = option(
        Kind.DURATION,
        "silence after which a program counts as hung and is replaced, at least 30 s; 0 never",
        default=60.0,
        minimum=0.0,
    )
    restart_delay: float = option(
        Kind.DURATION, "first delay before a crashed program is started again", default=0.1, minimum=0.0
    )
    restart_delay_max: float = option(
        Kind.DURATION, "longest delay between restarts", default=60.0, minimum=0.0
    )
    restart_intensity: int = option(
        Kind.INTEGER, "restarts within restart_period before a program is only probed", default=10, minimum=1
    )
    restart_period: float = option(
        Kind.DURATION, "the window of restart_intensity", default=60.0, minimum=1.0
    )


@dataclass(frozen=True, slots=True)
class LogConfig:
    """[log]: what is written to standard error."""

    level: str = option(Kind.CHOICE, "least severe level written", default="info", choices=LOG_LEVELS)
    format: str = option(
        Kind.CHOICE,
        "auto is journal under systemd and plain elsewhere",
        default="auto",
        choices=LOG_FORMATS,
    )


@dataclass(frozen=True, slots=True)
class SqliteConfig:
    """[sqlite]: the embedded broker and result files."""

    durability: str = option(
        Kind.CHOICE,
        "normal survives any crash of a process, full also power loss",
        default="normal",
        choices=("normal", "full"),
    )
    busy_timeout: float = option(
        Kind.DURATION, "how long to wait for another process's transaction", default=10.0, minimum=0.1
    )


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """[worker.NAME]: one worker program, or several alike."""

    name: str
    queues: tuple[str, ...] = option(
        Kind.TEXT_LIST, "queues to consume from", factory=lambda: (DEFAULT_QUEUE,)
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
    processes: int = option(Kind.INTEGER, "how many workers of this kind", default=1, minimum=1, maximum=1000)
    prefetch: int | str = option(
        Kind.PREFETCH, '"auto" claims about 100 ms of work ahead; a number claims that many', default="auto"
    )
    lease: float = option(
        Kind.DURATION, "how long claims stay with a silent worker", default=10.0, minimum=1.0
    )
    max_deaths: int = option(
        Kind.INTEGER, "children a task may kill before it is parked as a dead letter", default=3, minimum=1
    )
    soft_time_limit: float = option(
        Kind.DURATION, "default soft limit of a task; 0 none", default=0.0, minimum=0.0
    )
    time_limit: float = option(
        Kind.DURATION, "default hard limit of a task; 0 none", default=0.0, minimum=0.0
    )
    directory: str = option(Kind.TEXT, "working directory; empty keeps the daemon's", default="")
    environment: Mapping[str, str] = option(
        Kind.TEXT_MAP, "variables added to the program's environment", factory=dict
    )


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


@dataclass(frozen=True, slots=True)
class Config:
    """The whole file."""

    path: str = ""
    app: str = option(Kind.TEXT, 'the task code, "package.module:attribute"', default="")
    broker: str = option(
        Kind.URL,
        "where messages wait",
        default="sqlite:///var/lib/taskd/broker.db",
        choices=BROKER_SCHEMES,
        secret=True,
    )
    results: str = option(
        Kind.URL,
        'where results are kept; "null://" keeps none',
        default="sqlite:///var/lib/taskd/results.db",
        choices=RESULT_SCHEMES,
        secret=True,
    )
    result_expires: float = option(
        Kind.DURATION, "how long results are kept; 0 for ever", default=86400.0, minimum=0.0
    )
    supervisor: SupervisorConfig = field(default_factory=SupervisorConfig)
    log: LogConfig = field(default_factory=LogConfig)
    sqlite: SqliteConfig = field(default_factory=SqliteConfig)
    workers: Mapping[str, WorkerConfig] = field(default_factory=dict)
    beat: BeatConfig = field(default_factory=BeatConfig)
