"""The remote-control commands that tell of the worker itself: what it is, has done, and uses.

Names, arguments and shapes of the replies are Celery's.
"""

from __future__ import annotations

import os
import resource
import sys
from collections import deque
from collections.abc import Callable, Mapping
from urllib.parse import urlsplit

from taskd.base import clock
from taskd.base.plural import counted
from taskd.base.schemes import file_of, scheme_of
from taskd.base.version import __version__
from taskd.consumer.commands.shown_config import masked
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.running.work import Work
from taskd.consumer.tasks import TasksGiven
from taskd.host.resident import resident_bytes
from taskd.protocol.lamport import LamportClock

_RUSAGE = (
    "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt",
    "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
)  # fmt: skip
_KEPT_SAMPLES = 100


class SelfReport:
    """These commands, bound to one worker's parts."""

    def __init__(
        self,
        facts: WorkerFacts,
        live: LiveConfig,
        work: Work,
        logical: LamportClock,
        broker_url: str,
        *,
        tasks: TasksGiven,
        info: Callable[[], Mapping[str, object]],
    ) -> None:
        self._facts = facts
        self._live = live
        self._work = work
        self._logical = logical
        self._broker_url = broker_url
        self._tasks = tasks
        self._info = info
        self._samples: deque[tuple[float, int]] = deque(maxlen=_KEPT_SAMPLES)

    def clock(self) -> object:
        """Return Lamport's clock of this node."""
        return {"clock": self._logical.value}

    def report(self) -> object:
        """Return what a report of a fault should begin with."""
        pool = self._work.pool
        machine = os.uname()
        lines = (
            f"taskd {__version__}, Python {sys.version.split()[0]}",
            f"{machine.sysname} {machine.release} {machine.machine}",
            f"pool {pool.info().implementation}, {counted(pool.capacity, 'slot')}",
            f"broker {self._broker_url.partition(':')[0]}, queues {', '.join(self._tasks.intake.queues())}",
            f"tasks {len(self._work.tasks)}",
        )
        app = self._work.needs
        of_the_app = (app.software, *(f"{name}: {value!r}" for name, value in app.settings.items()))
        return {"ok": "\n".join([*lines, *filter(None, of_the_app)])}

    def conf(self, with_defaults: bool = False) -> object:
        """Return the configuration, secrets hidden, and the app's own settings beside it.

        The configuration is always whole: there are no defaults beside it.
        """
        shown = masked(self._live.config)
        assert isinstance(shown, dict)
        return {**shown, **self._work.needs.settings}

    def active_queues(self) -> object:
        """Return the queues that this worker consumes from, as kombu describes queues."""
        return [_queue(queue) for queue in self._tasks.intake.queues()]

    def stats(self) -> object:
        """Return totals, pool, broker and resource use, keyed as Celery's are."""
        pool = self._work.pool.info()
        worker = self._live.worker
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            **self._info(),
            "pid": os.getpid(),
            "clock": str(self._logical.value),
            "uptime": int(clock.monotonic() - self._facts.started_at),
            "pool": {
                "implementation": pool.implementation,
                "max-concurrency": pool.max_concurrency,
                "processes": list(pool.processes),
                "max-tasks-per-child": worker.max_tasks_per_child or "N/A",
                "put-guarded-by-semaphore": False,
                "timeouts": [worker.soft_time_limit, worker.time_limit],
                "writes": "N/A",
                **pool.details,
            },
            "broker": broker_info(self._broker_url),
            "rusage": {name: getattr(usage, f"ru_{name}") for name in _RUSAGE},
        }

    # -- memory ----------------------------------------------------------------------------------

    def memsample(self) -> object:
        """Return the resident memory of this process, and remember it for ``memdump``."""
        size = resident_bytes([os.getpid()])
        self._samples.append((clock.now(), size))
        return _size(size)

    def memdump(self, samples: int = 10) -> object:
        """Return the latest measurements, one a line."""
        latest = list(self._samples)[-max(1, int(samples)) :]
        lines = [f"{clock.iso(at)} {_size(size)}" for at, size in latest]
        return "\n".join(lines) if lines else "memsample was not asked for yet"

    def objgraph(self, num: int = 200, max_depth: int = 10, type: str = "Request") -> object:  # noqa: A002
        """Refuse: looking at every object stops the loop, and on prefork none of the app's is here."""
        return {
            "error": "objgraph is not offered: it would stop the worker while it looks at every object; "
            "use tracemalloc in a task, or on prefork max_memory_per_child"
        }


def _size(count: int) -> str:
    return f"{count / 1024 / 1024:.2f}MB"


def _queue(name: str) -> dict[str, object]:
    return {
        "name": name,
        "exchange": {
            "name": name,
            "type": "direct",
            "arguments": None,
            "durable": True,
            "passive": False,
            "auto_delete": False,
            "delivery_mode": None,
            "no_declare": False,
        },
        "routing_key": name,
        "queue_arguments": None,
        "binding_arguments": None,
        "consumer_arguments": None,
        "durable": True,
        "exclusive": False,
        "auto_delete": False,
        "no_ack": False,
        "alias": None,
        "bindings": [],
        "no_declare": None,
        "expires": None,
        "message_ttl": None,
        "max_length": None,
        "max_length_bytes": None,
        "max_priority": None,
    }


def broker_info(url: str) -> dict[str, object]:
    """Return a broker's URL taken apart as kombu does it, without the password."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    return {
        "hostname": parts.hostname,
        "userid": parts.username,
        "virtual_host": file_of(url) or parts.path.lstrip("/") or "/",
        "port": port,
        "insist": False,
        "ssl": scheme_of(url).encrypted,
        "transport": parts.scheme,
        "connect_timeout": 4,
        "transport_options": {},
        "login_method": None,
        "uri_prefix": None,
        "heartbeat": 0.0,
        "failover_strategy": "round-robin",
        "alternates": [],
        "credential_provider": None,
    }
