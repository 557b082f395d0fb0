"""The remote-control commands that tell of tasks: which run, wait, are to come, and are revoked.

Names, arguments and shapes of the replies are Celery's.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum

from taskd.base import clock
from taskd.base.errors import ProtocolError
from taskd.base.rates import format_rate
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.commands.revoking import id_list
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.app_ends import AppEnds, Handed
from taskd.consumer.running.work import Work
from taskd.consumer.tasks import TasksGiven
from taskd.pools.base import RunningJob
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import decode_body, decode_headers
from taskd.revocations.known import By
from taskd.sending.options import TASK, TaskOptions

#: At most this many delayed messages are looked at.
_MAX_SCHEDULED = 1000
#: Where the names of tasks begin that every app has: Celery leaves its own away, too.
_BUILTINS = ("taskd.", "celery.")


class TaskQueries:
    """These commands, bound to one worker's parts."""

    def __init__(
        self, node_name: str, work: Work, policy: Policy, tasks: TasksGiven, app_ends: AppEnds
    ) -> None:
        self._node_name = node_name
        self._work = work
        self._app_ends = app_ends
        self._policy = policy
        self._tasks = tasks

    def active(self, safe: bool = False) -> object:
        """Return the tasks that have begun, those among them that have run and whose end is open.

        Of such a one ``end`` tells the state that the app has yet to store, since when and why.
        """
        found = []
        for running in self._work.pool.running():
            request = self._work.requests.get(running.tag)
            if request is not None:
                found.append(self._describe_running(request, running, safe=safe))
        found += [self._describe_open(run, handed, safe=safe) for run, handed in self._app_ends.open_ends()]
        return found

    def reserved(self) -> object:
        """Return the tasks that are claimed and have not begun."""
        begun = {running.tag for running in self._work.pool.running()}
        return [self._describe(request) for tag, request in self._work.requests.items() if tag not in begun]

    def scheduled(self) -> object:
        """Return the delayed messages of this worker's queues, soonest first; the broker holds them."""
        return [
            {"eta": clock.iso(due_at), "priority": 6, "request": self._describe(request, waits=True)}
            for due_at, request in self._delayed()
        ]

    def _delayed(self) -> Iterator[tuple[float, WorkerRequest]]:
        for due_at, delivery in self._tasks.intake.scheduled(_MAX_SCHEDULED):
            request = self._request(delivery)
            if request is not None:
                yield due_at, request

    def _request(self, delivery: Delivery) -> WorkerRequest | None:
        try:
            headers = decode_headers(delivery.headers)
        except ProtocolError:
            return None  # it will be dead-lettered when it is due
        options = self._work.tasks.get(headers.task)
        return None if options is None else WorkerRequest(delivery, headers, options, generation=0)

    def query_task(self, ids: object) -> object:
        """Return ``{id: [state, info]}`` for the given ids that this worker holds or will claim."""
        wanted = set(id_list(ids))
        begun = {running.tag: running for running in self._work.pool.running()}
        found: dict[str, object] = {
            request.headers.id: ["scheduled", self._describe(request, waits=True)]
            for _, request in self._delayed()
            if request.headers.id in wanted
        }
        for tag, request in self._work.requests.items():
            if request.headers.id in wanted:
                running = begun.get(tag)
                found[request.headers.id] = (
                    ["reserved", self._describe(request)]
                    if running is None
                    else ["active", self._describe_running(request, running)]
                )
        for run, handed in self._app_ends.open_ends():
            if run.headers.id in wanted:
                found[run.headers.id] = ["active", self._describe_open(run, handed)]
        return found

    def registered(self, taskinfoitems: object = None, builtins: bool = False) -> object:
        """Return the names of the tasks that this worker can run, with options that are set.

        ``taskinfoitems``: names of options; by default the rate limit, the one of Celery's that exists here.
        """
        items = id_list(taskinfoitems) if taskinfoitems else ["rate_limit"]
        return [
            self._entry(options, items)
            for name, options in sorted(self._work.tasks.items())
            if builtins or not name.startswith(_BUILTINS)
        ]

    def _entry(self, options: TaskOptions, items: list[str]) -> str:
        shown = []
        for item in items:
            value: object = getattr(options, item, None) if item in TASK else None
            if item == "rate_limit":
                value = format_rate(rate) if (rate := self._policy.rates.rate_of(options)) else None
            if value is not None:
                shown.append(f"{item}={value.value if isinstance(value, Enum) else value}")
        return f"{options.name} [{' '.join(shown)}]" if shown else options.name

    def revoked(self) -> list[str]:
        """Return the ids that will not run here."""
        return list(self._policy.revoked.known[By.ID].ids(clock.monotonic()))

    def revoked_names(self) -> list[str]:
        """Return the task names and, as ``header=value``, the stamps whose tasks will not run here."""
        now = clock.monotonic()
        revoked = self._policy.revoked.known
        return [*revoked[By.NAME].ids(now), *revoked[By.STAMP].ids(now)]

    def _describe_running(
        self, request: WorkerRequest, running: RunningJob, *, safe: bool = False
    ) -> dict[str, object]:
        time_start = clock.now() - (clock.monotonic() - running.since)
        return self._describe(request, pid=running.pid, time_start=time_start, safe=safe)

    def _describe_open(self, run: WorkerRequest, handed: Handed, *, safe: bool = False) -> dict[str, object]:
        end = {
            "state": handed.end.state,
            "since": handed.since_at,
            "attempts": handed.attempts,
            "reason": self._app_ends.reason(handed),
        }
        return {**self._describe(run, safe=safe), "end": end}

    def _describe(
        self,
        request: WorkerRequest,
        *,
        pid: int | None = None,
        time_start: float | None = None,
        safe: bool = False,
        waits: bool = False,
    ) -> dict[str, object]:
        """``waits``: nobody has claimed it, so it is not acknowledged whatever its task's option."""
        delivery = request.delivery
        headers = request.headers
        args: object = headers.argsrepr
        kwargs: object = headers.kwargsrepr
        if not safe:
            try:
                args, kwargs, _ = decode_body(delivery.body, delivery.content_type, headers.compression)
            except ProtocolError:
                pass  # the reprs of the headers must do; the executor will reject the body
        return {
            "id": headers.id,
            "name": headers.shadow or headers.task,
            "args": args,
            "kwargs": kwargs,
            "type": headers.task,
            "hostname": self._node_name,
            "time_start": time_start,
            "acknowledged": request.acks_early and not waits,
            "delivery_info": {
                "exchange": delivery.exchange,
                "routing_key": delivery.routing_key,
                "priority": delivery.priority,
                "redelivered": delivery.deliveries > 1,
            },
            "worker_pid": pid,
        }
