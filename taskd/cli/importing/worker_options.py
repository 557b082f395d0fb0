"""The options of ``celery worker`` as keys of a worker's table.  Pure.

A reader answers with nothing for a value that it cannot take over; a person is told of it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from taskd.config.built_in import POOLS

_BYTES_PER_KIB = 1024
_MOST_SLOTS = 10_000
#: Options that need nothing here: taskd has the log, the processes and the memory of what is revoked.
#: Others of them are read where the worker's name, queues and surroundings are.
NOT_NEEDED = frozenset(
    {
        *("app", "workdir", "logfile", "pidfile", "detach", "statedb", "optimization", "quiet", "no-color"),
        *("heartbeat-interval", "schedule", "skip-checks", "umask", "executable", "uid", "gid", "loglevel"),
        *("without-heartbeat", "beat", "hostname", "queues", "exclude-queues", "broker", "result-backend"),
        *("config", "scheduler", "no-execv"),
    }
)


#: Why nothing needs the ones that a person may look for.
REASONS: Mapping[str, str] = {
    "logfile": "the log goes by [log]",
    "pidfile": "taskd knows its processes by itself",
    "statedb": "revocations are remembered beside the messages",
    "optimization": "a task goes to an idle child, unless it is known to be short",
    "detach": "taskd starts in the foreground, for systemd",
    "umask": "write umask into the table, if it needs it",
    "without-heartbeat": "heartbeats cost little, and neighbours and monitors need them",
    "heartbeat-interval": "the lease of the worker takes its place",
}


def _concurrency(value: str) -> Mapping[str, object]:
    number = int(_number(value))
    return {"concurrency": min(number, _MOST_SLOTS)} if number else {}


def _pool(value: str) -> Mapping[str, object]:
    known = next(iter(POOLS)) if value == "processes" else value
    return {"pool": known} if known in POOLS else {}


def _autoscale(value: str) -> Mapping[str, object]:
    sizes = [int(each) for each in re.findall(r"\d{1,5}", value, re.ASCII)]
    if not sizes:
        return {}
    return {"concurrency": min(max(sizes), _MOST_SLOTS), "min_concurrency": max(1, min(sizes))}


def _prefetch(value: str) -> Mapping[str, object]:
    return {"prefetch": 0} if _number(value) == 1 else {}


def _count(key: str, times: int = 1) -> Callable[[str], Mapping[str, object]]:
    return lambda value: {key: int(number) * times} if (number := _number(value)) else {}


def _seconds(key: str) -> Callable[[str], Mapping[str, object]]:
    return lambda value: {key: number} if (number := _number(value)) else {}


def _fixed(key: str, wanted: object) -> Callable[[str], Mapping[str, object]]:
    return lambda _value: {key: wanted}


def _start_method(value: str) -> Mapping[str, object]:
    return {"preload": "auto" if value == "fork" else "false"}


_READERS: Mapping[str, Callable[[str], Mapping[str, object]]] = {
    "concurrency": _concurrency,
    "pool": _pool,
    "autoscale": _autoscale,
    "prefetch-multiplier": _prefetch,
    "disable-prefetch": _fixed("prefetch", 0),
    "max-tasks-per-child": _count("max_tasks_per_child"),
    "max-memory-per-child": _count("max_memory_per_child", _BYTES_PER_KIB),
    "time-limit": _seconds("time_limit"),
    "soft-time-limit": _seconds("soft_time_limit"),
    "task-events": _fixed("events", True),
    "without-gossip": _fixed("gossip", False),
    "without-mingle": _fixed("mingle", False),
    "pool-start-method": _start_method,
}


def keys_of_option(option: str, value: str) -> Mapping[str, object]:
    """Return the keys that an option becomes; none for one that is not known, or has an odd value."""
    reader = _READERS.get(option)
    return reader(value) if reader else {}


def _number(value: str) -> float:
    return float(value) if re.fullmatch(r"\d{1,12}(\.\d{1,6})?", value, re.ASCII) else 0.0
