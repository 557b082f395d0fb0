"""Remote-control commands: what ``celery inspect``, ``celery control`` and ``taskctl`` may ask a worker.

One table at the end.  Names, arguments and shapes of the replies are Celery's; what a reply means is
said where it is not plain.  Every command returns at once: an effect that takes time is started here
and seen through ``inspect``.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable, Iterable, Mapping

from taskd import clock
from taskd.consumer.context import Context, Shutdown
from taskd.consumer.request import Request
from taskd.consumer.tasks import TasksGiven
from taskd.errors import ProtocolError
from taskd.protocol.message import decode_body, decode_headers

Command = Callable[..., object]

#: ``inspect scheduled`` shows at most this many messages.
_MAX_SCHEDULED = 1000
_RUSAGE = (
    "utime", "stime", "maxrss", "ixrss", "idrss", "isrss", "minflt", "majflt",
    "nswap", "inblock", "oublock", "msgsnd", "msgrcv", "nsignals", "nvcsw", "nivcsw",
)  # fmt: skip


class Commands:
    """The commands of one worker, bound to its parts."""

    def __init__(self, context: Context, tasks: TasksGiven, info: Callable[[], Mapping[str, object]]) -> None:
        self._context = context
        self._tasks = tasks
        self._info = info

    # -- inspect ---------------------------------------------------------------------------

    def ping(self) -> object:
        """Answer that the loop turns."""
        return {"ok": "pong"}

    def hello(self, from_node: str = "", revoked: object = None) -> object:
        """Exchange revoked ids with a worker that starts; None to oneself."""
        if from_node == self._context.node_name:
            return None
        if isinstance(revoked, (list, dict)):
            self._context.revoked.add([str(each) for each in revoked], clock.monotonic())
        return {"revoked": self.revoked(), "clock": 0}

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
        """Return the names of the tasks that this worker can run."""
        return sorted(self._context.tasks)

    def revoked(self) -> list[str]:
        """Return the ids that will not run here."""
        return list(self._context.revoked.ids(clock.monotonic()))

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
        wanted = set(_id_list(ids))
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
            "clock": "0",
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

    # -- control ---------------------------------------------------------------------------

    def revoke(self, task_id: object, terminate: bool = False, signal: object = None) -> object:
        """Keep tasks from running; with ``terminate`` end those that run, with ``signal`` (TERM)."""
        ids = _id_list(task_id)
        self._context.revoked.add(ids, clock.monotonic())
        signum = _signal_number(signal) if terminate else 0
        ended = self._cancel(set(ids), signum)
        if not terminate:
            return {"ok": f"tasks {set(ids)!r} flagged as revoked"}
        return {"ok": f"terminate: {', '.join(ended) if ended else 'tasks unknown'}"}

    def terminate(self, signal: object, task_id: object) -> object:
        """Do as ``revoke`` with terminate."""
        return self.revoke(task_id, terminate=True, signal=signal)

    def shutdown(self, msg: object = None) -> object:
        """End this worker warmly.  Under taskd the supervisor starts it again: stop it with taskctl."""
        self._context.request_shutdown(Shutdown.WARM)
        return None

    def _cancel(self, ids: set[str], signum: int) -> list[str]:
        """Cancel what waits in the pool and, with a signal, what runs; return the ids of the running."""
        begun = {running.tag for running in self._context.pool.running()}
        ended = []
        for tag, request in list(self._context.requests.items()):
            if request.headers.id not in ids:
                continue
            request.terminated_by = signum
            # Without a signal the pool leaves alone what has begun.
            if self._context.pool.cancel(tag, signum) and tag in begun:
                ended.append(request.headers.id)
        return ended

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
            "active_queues": self.active_queues,
            "query_task": self.query_task,
            "stats": self.stats,
            "revoke": self.revoke,
            "terminate": self.terminate,
            "shutdown": self.shutdown,
        }


def _id_list(ids: object) -> list[str]:
    if isinstance(ids, str):
        return [ids]
    if isinstance(ids, Iterable):
        return [str(each) for each in ids]
    raise ValueError(f"task ids are text or a list of texts, not {ids!r}")


def _signal_number(name: object) -> int:
    """Return the number of a signal given as ``TERM``, ``SIGTERM``, a number, or None for TERM."""
    if name is None:
        return signal.SIGTERM
    if isinstance(name, int) and not isinstance(name, bool):
        return signal.Signals(name)
    text = str(name).upper()
    return signal.Signals[text if text.startswith("SIG") else f"SIG{text}"]
