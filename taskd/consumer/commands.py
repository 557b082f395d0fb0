"""Remote-control commands: what ``celery inspect``, ``celery control`` and ``taskctl`` may ask a worker.

Here are those that only look; ``revoking`` and ``steering`` have the others.  One table at the end.
Names, arguments and shapes of the replies are Celery's; what a reply means is said where it is not
plain.  Every command returns at once: an effect that takes time is started here and seen through
``inspect``.
"""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Mapping

from taskd import clock
from taskd.consumer.context import Context
from taskd.consumer.masked import masked
from taskd.consumer.request import Request
from taskd.consumer.revoked import By
from taskd.consumer.revoking import Revoking, id_list
from taskd.consumer.steering import Steering
from taskd.consumer.tasks import TasksGiven
from taskd.consumer.watching import Watching
from taskd.errors import ProtocolError
from taskd.protocol.message import decode_body, decode_headers
from taskd.protocol.rates import format_rate
from taskd.version import __version__

Command = Callable[..., object]

#: ``inspect scheduled`` shows at most this many messages.
_MAX_SCHEDULED = 1000
_RUSAGE = (
    "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt",
    "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
)  # fmt: skip


class Commands:
    """The commands of one worker, bound to its parts."""

    def __init__(
        self,
        context: Context,
        tasks: TasksGiven,
        info: Callable[[], Mapping[str, object]],
    ) -> None:
        self._context = context
        self._tasks = tasks
        self._info = info
        self._revoking = Revoking(context)
        self._steering = Steering(context, tasks)
        self._watching = Watching(context)

    def ping(self) -> object:
        """Answer that the loop turns."""
        return {"ok": "pong"}

    def hello(self, from_node: str = "", **told: object) -> object:
        """Exchange with a worker that starts what is revoked; None to oneself."""
        if from_node == self._context.node_name:
            return None
        self._revoking.learn(told)
        return {**self._revoking.known(), "clock": self._context.logical.forward()}

    def clock(self) -> object:
        """Return Lamport's clock of this node."""
        return {"clock": self._context.logical.value}

    def report(self) -> object:
        """Return what a report of a fault should begin with."""
        context, machine = self._context, os.uname()
        lines = (
            f"taskd {__version__}, Python {sys.version.split()[0]}",
            f"{machine.sysname} {machine.release} {machine.machine}",
            f"pool {context.pool.info().implementation}, {context.pool.capacity} slots",
            f"broker {context.broker.url.partition(':')[0]}, queues {', '.join(self._tasks.intake.queues())}",
            f"tasks {len(context.tasks)}",
        )
        return {"ok": "\n".join(lines)}

    def conf(self, with_defaults: bool = False) -> object:
        """Return the configuration, secrets hidden.  It is always whole: there are no defaults beside it."""
        return masked(self._context.config)

    def active(self, safe: bool = False) -> object:
        """Return the tasks that have begun."""
        now_at, now = clock.now(), clock.monotonic()
        found = []
        for running in self._context.pool.running():
            request = self._context.requests.get(running.tag)
            if request is not None:
                time_start = now_at - (now - running.since)
                found.append(self._describe(request, pid=running.pid, time_start=time_start, safe=safe))
        return found

    def reserved(self) -> object:
        """Return the tasks that are claimed and have not begun."""
        begun = {running.tag for running in self._context.pool.running()}
        return [
            self._describe(request) for tag, request in self._context.requests.items() if tag not in begun
        ]

    def scheduled(self) -> object:
        """Return the delayed messages of this worker's queues, soonest first; the broker holds them."""
        found = []
        for due_at, delivery in self._tasks.intake.scheduled(_MAX_SCHEDULED):
            headers = decode_headers(delivery.headers)
            options = self._context.tasks.get(headers.task)
            if options is not None:
                request = Request(delivery, headers, options, generation=0)
                entry = {"eta": clock.iso(due_at), "priority": 6, "request": self._describe(request)}
                found.append(entry)
        return found

    def registered(self, taskinfoitems: object = None, builtins: bool = False) -> object:
        """Return the names of the tasks that this worker can run, with their rate limits."""
        limits = {name: self._context.rates.rate_of(each) for name, each in self._context.tasks.items()}
        return [
            f"{name} [rate_limit={format_rate(rate)}]" if rate else name
            for name, rate in sorted(limits.items())
        ]

    def revoked(self) -> list[str]:
        """Return the ids that will not run here."""
        return list(self._context.revoked[By.ID].ids(clock.monotonic()))

    def revoked_names(self) -> list[str]:
        """Return the task names and, as ``header=value``, the stamps whose tasks will not run here."""
        now, revoked = clock.monotonic(), self._context.revoked
        return [*revoked[By.NAME].ids(now), *revoked[By.STAMP].ids(now)]

    def active_queues(self) -> object:
        """Return the queues that this worker consumes from."""
        return [
            {
                "name": queue,
                "exchange": {"name": queue, "type": "direct", "durable": True, "auto_delete": False},
                "routing_key": queue,
                "durable": True,
                "exclusive": False,
                "auto_delete": False,
                "no_ack": False,
                "bindings": [],
            }
            for queue in self._tasks.intake.queues()
        ]

    def query_task(self, ids: object) -> object:
        """Return ``{id: [state, info]}`` for the given ids that this worker holds."""
        wanted = set(id_list(ids))
        begun = {running.tag for running in self._context.pool.running()}
        return {
            request.headers.id: ["active" if tag in begun else "reserved", self._describe(request)]
            for tag, request in self._context.requests.items()
            if request.headers.id in wanted
        }

    def stats(self) -> object:
        """Return totals, pool, broker and resource use, keyed as Celery's are."""
        pool = self._context.pool.info()
        usage = resource.getrusage(resource.RUSAGE_SELF)
        return {
            **self._info(),
            "pid": os.getpid(),
            "clock": str(self._context.logical.value),
            "uptime": int(clock.monotonic() - self._context.started_at),
            "pool": {
                "implementation": pool.implementation,
                "max-concurrency": pool.max_concurrency,
                "processes": list(pool.processes),
                **pool.details,
            },
            "broker": {"transport": self._context.broker.url.partition(":")[0]},
            "rusage": {name: getattr(usage, f"ru_{name}") for name in _RUSAGE},
        }

    def _describe(
        self, request: Request, *, pid: int | None = None, time_start: float | None = None, safe: bool = False
    ) -> dict[str, object]:
        delivery, headers = request.delivery, request.headers
        args: object = headers.argsrepr
        kwargs: object = headers.kwargsrepr
        if not safe:
            try:
                args, kwargs, _ = decode_body(delivery.body, delivery.content_type, delivery.content_encoding)
            except ProtocolError:
                pass  # the reprs of the headers must do; the executor will reject the body
        return {
            "id": headers.id,
            "name": headers.shadow or headers.task,
            "args": args,
            "kwargs": kwargs,
            "type": headers.task,
            "hostname": self._context.node_name,
            "time_start": time_start,
            "acknowledged": request.acks_early,
            "delivery_info": {
                "exchange": delivery.exchange,
                "routing_key": delivery.routing_key,
                "priority": delivery.priority,
                "redelivered": delivery.deliveries > 1,
            },
            "worker_pid": pid,
        }

    def table(self) -> Mapping[str, Command]:
        """Return every command by its name on the wire, Celery's older names included."""
        revoking, steering, watching = self._revoking, self._steering, self._watching
        return {
            "ping": self.ping,
            "hello": self.hello,
            "active": self.active,
            "dump_active": self.active,
            "reserved": self.reserved,
            "dump_reserved": self.reserved,
            "scheduled": self.scheduled,
            "dump_schedule": self.scheduled,
            "registered": self.registered,
            "dump_tasks": self.registered,
            "revoked": self.revoked,
            "dump_revoked": self.revoked,
            "revoked_names": self.revoked_names,
            "active_queues": self.active_queues,
            "query_task": self.query_task,
            "stats": self.stats,
            "clock": self.clock,
            "report": self.report,
            "conf": self.conf,
            "dump_conf": self.conf,
            "revoke": revoking.revoke,
            "terminate": revoking.terminate,
            "revoke_by_name": revoking.revoke_by_name,
            "revoke_by_stamped_headers": revoking.revoke_by_stamped_headers,
            "unrevoke": revoking.unrevoke,
            "rate_limit": steering.rate_limit,
            "time_limit": steering.time_limit,
            "pool_grow": steering.pool_grow,
            "pool_shrink": steering.pool_shrink,
            "add_consumer": steering.add_consumer,
            "cancel_consumer": steering.cancel_consumer,
            "shutdown": steering.shutdown,
            "enable_events": watching.enable_events,
            "disable_events": watching.disable_events,
            "heartbeat": watching.heartbeat,
            "election": watching.election,
        }
