"""Every remote-control command: its name, its arguments, and what it is for.

Workers bind their commands by it; ``taskctl inspect``, ``taskctl control`` and ``docs/remote-control.md`` are
made from it.  Names and arguments are Celery's; ``ours`` marks what Celery does not have.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum


class CommandKind(str, Enum):
    """Whether a command only looks."""

    INSPECT = "inspect"
    CONTROL = "control"


class ArgumentType(Enum):
    """The type of an argument."""

    TEXT = "text"
    TEXTS = "texts"
    INTEGER = "integer"
    NUMBER = "number"
    SWITCH = "switch"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Argument:
    """One argument; ``required`` ones are positional on the command line, the others options."""

    name: str
    value: ArgumentType
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class CommandSpec:
    """One command.  ``hidden``: for workers among themselves, not for people."""

    name: str
    kind: CommandKind
    about: str
    arguments: Sequence[Argument] = ()
    aliases: Sequence[str] = ()
    ours: bool = False
    hidden: bool = False


def _look(name: str, about: str, *arguments: Argument, **more: object) -> CommandSpec:
    return CommandSpec(name, CommandKind.INSPECT, about, arguments, **more)  # type: ignore[arg-type]


def _do(name: str, about: str, *arguments: Argument, **more: object) -> CommandSpec:
    return CommandSpec(name, CommandKind.CONTROL, about, arguments, **more)  # type: ignore[arg-type]


def _text(name: str, about: str, *, required: bool = False) -> Argument:
    return Argument(name, ArgumentType.TEXT, about, required)


_IDS = Argument("task_id", ArgumentType.TEXTS, "ids of tasks", required=True)
_TASK = _text("task_name", "name of a task", required=True)
_QUEUE = _text("queue", "name of a queue", required=True)
_SLOTS = Argument("n", ArgumentType.INTEGER, "how many slots (1)")
_ENDING = (
    Argument("terminate", ArgumentType.SWITCH, "end those that run"),
    _text("signal", "signal for terminate (TERM)"),
    Argument("soft", ArgumentType.NUMBER, "ours: seconds from SoftTimeLimitExceeded to the signal"),
    Argument("term", ArgumentType.NUMBER, "ours: seconds from the signal to KILL"),
)

COMMANDS: Sequence[CommandSpec] = (
    _look("ping", "See which workers answer."),
    _look(
        "active",
        "List the tasks that run now, and those whose end the app has yet to store.",
        Argument("safe", ArgumentType.SWITCH, "show the reprs of arguments instead of the arguments"),
        aliases=("dump_active",),
    ),
    _look("reserved", "List the tasks that workers hold and have not begun.", aliases=("dump_reserved",)),
    _look("scheduled", "List the tasks that are to run later.", aliases=("dump_schedule",)),
    _look(
        "query_task",
        "Show the state of tasks: active, reserved or scheduled.",
        Argument("ids", ArgumentType.TEXTS, "ids of tasks", required=True),
    ),
    _look(
        "registered",
        "List the tasks that workers can run.",
        Argument("taskinfoitems", ArgumentType.JSON, "options to show beside the names (rate_limit)"),
        Argument("builtins", ArgumentType.SWITCH, "also list the tasks that taskd and Celery bring along"),
        aliases=("dump_tasks",),
    ),
    _look("revoked", "List the ids of revoked tasks.", aliases=("dump_revoked",)),
    _look("revoked_names", "List the task names and stamped headers whose tasks do not run.", ours=True),
    _look("active_queues", "List the queues that workers consume from."),
    _look("stats", "Show each worker's pool, load and memory."),
    _look("report", "Show the facts with which a bug report should begin."),
    _look(
        "conf",
        "Show the configuration of workers, secrets hidden.",
        Argument(
            "with_defaults", ArgumentType.SWITCH, "for Celery's sake; the configuration is always whole"
        ),
        aliases=("dump_conf",),
    ),
    _look("clock", "Show the logical clocks."),
    _look("memsample", "Measure the resident memory of the workers' main processes."),
    _look(
        "memdump",
        "Show the measurements of memsample.",
        Argument("samples", ArgumentType.INTEGER, "number of measurements, the latest ones (10)"),
    ),
    _look(
        "objgraph",
        "Refused: it would stop the worker while it looks at every object.",
        Argument("type", ArgumentType.TEXT, "name of a type"),
        Argument("num", ArgumentType.INTEGER, "how many objects"),
        Argument("max_depth", ArgumentType.INTEGER, "how deep"),
    ),
    _look("commands", "List all commands, those of the app too.", ours=True),
    _look(
        "hello",
        "Exchange revoked tasks with a worker that starts.",
        _text("from_node", "who asks", required=True),
        Argument("revoked", ArgumentType.JSON, "the revoked tasks that the worker knows"),
        hidden=True,
    ),
    _do("revoke", "Keep tasks from running, and end those that run.", _IDS, *_ENDING),
    _do(
        "terminate",
        "Revoke tasks and end those that run.",
        _text("signal", "signal", required=True),
        _IDS,
        *_ENDING[2:],
    ),
    _do(
        "revoke_by_stamped_headers",
        "Keep tasks with these stamps from running.",
        Argument("headers", ArgumentType.TEXTS, "stamps, each header=value", required=True),
        *_ENDING,
    ),
    _do(
        "revoke_by_name",
        "Keep tasks of these names from running.",
        Argument("task_name", ArgumentType.TEXTS, "names of tasks", required=True),
        *_ENDING,
        ours=True,
    ),
    _do(
        "unrevoke",
        "Let revoked tasks run again.",
        Argument("task_id", ArgumentType.JSON, "list of ids"),
        Argument("task_name", ArgumentType.JSON, "list of names"),
        Argument("headers", ArgumentType.JSON, "list of header=value"),
        ours=True,
    ),
    _do(
        "rate_limit",
        "Limit how many tasks of a name each worker begins.",
        _TASK,
        _text("rate_limit", "such as 10/s, 10/m or 10/h; 0 for no limit", required=True),
    ),
    _do(
        "time_limit",
        "Put time limits in the place of a task's own.",
        _TASK,
        Argument("soft", ArgumentType.NUMBER, "seconds until SoftTimeLimitExceeded; 0 none"),
        Argument("hard", ArgumentType.NUMBER, "seconds until the task is ended; 0 none"),
    ),
    _do("pool_grow", "Add slots to the pools.", _SLOTS),
    _do("pool_shrink", "Take slots from the pools.", _SLOTS),
    _do(
        "autoscale",
        "Change the bounds between which pools follow their load.",
        Argument("max", ArgumentType.INTEGER, "the most slots"),
        Argument("min", ArgumentType.INTEGER, "the fewest slots"),
    ),
    _do(
        "pool_restart",
        "Refused with its remedy: taskctl restart or reload replaces whole workers without a gap.",
        Argument("modules", ArgumentType.JSON, "list of modules"),
        Argument("reload", ArgumentType.SWITCH, "reload them"),
        Argument("reloader", ArgumentType.JSON, "for Celery's sake"),
    ),
    _do(
        "add_consumer",
        "Consume from one more queue.",
        _QUEUE,
        _text("exchange", "exchange to bind it to"),
        _text("exchange_type", "direct, topic or fanout (direct)"),
        _text("routing_key", "routing key of the binding (the queue's name)"),
    ),
    _do("cancel_consumer", "Stop consuming from a queue.", _QUEUE),
    _do("enable_events", "Send task events."),
    _do("disable_events", "Stop sending task events."),
    _do("heartbeat", "Send a worker-heartbeat event at once."),
    _do(
        "election",
        "Choose one of the workers to send a task.",
        _text("id", "unique id of the election", required=True),
        _text("topic", "task", required=True),
        Argument("action", ArgumentType.JSON, "signature of the task"),
    ),
    _do(
        "shutdown",
        "End workers warmly; their supervisor starts them again: taskctl stop keeps them stopped.",
        _text("msg", "for Celery's sake"),
    ),
)

BY_NAME: Mapping[str, CommandSpec] = {name: spec for spec in COMMANDS for name in (spec.name, *spec.aliases)}


def task_of(kind: CommandKind, command: str) -> str:
    """Return under which name of a task a command of the app is registered."""
    return f"taskd.{kind.value}.{command}"
