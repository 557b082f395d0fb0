"""The remote-control commands that change how a worker works: limits, slots, queues.

Names, arguments and replies are Celery's.  A change lasts until the worker ends; the next
one starts from the configuration file again.
"""

from __future__ import annotations

from typing import Protocol, cast

from taskd.base import clock
from taskd.base.errors import ProtocolError
from taskd.base.plural import counted
from taskd.base.rates import parse_rate
from taskd.brokers import topology
from taskd.brokers.base import Advancing, Broker
from taskd.config.kinds import BrokerCan
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.running.work import Work
from taskd.consumer.tasks import TasksGiven
from taskd.protocol.message import decode_headers

#: A change of a rate limit brings back at most this many messages; the later ones keep their time.
_BROUGHT_BACK = 10_000
#: As in the file.
_MOST_SLOTS = 10_000
#: Queues of one worker, beyond which none is added.
_MOST_QUEUES = 1000


class Autoscaling(Protocol):
    """The offer of the Autoscaler while it takes part."""

    def update(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Change the bounds, None for as before; return both.  Raises ``ValueError`` for senseless ones."""


class Steering:
    """These commands, bound to one worker's parts."""

    def __init__(
        self,
        facts: WorkerFacts,
        live: LiveConfig,
        orders: Orders,
        work: Work,
        policy: Policy,
        *,
        broker: Broker,
        tasks: TasksGiven,
        autoscaler: Autoscaling | None,
    ) -> None:
        """``autoscaler``: None while the pool's size is fixed."""
        self._facts = facts
        self._live = live
        self._orders = orders
        self._work = work
        self._policy = policy
        self._broker = broker
        self._autoscaler = autoscaler
        self._tasks = tasks

    def rate_limit(self, task_name: str, rate_limit: str | float | None = None) -> object:
        """Limit how many tasks of this name begin, such as "10/m"; 0 lifts the limit.

        Messages that were put back for the former limit come back at once, to be decided anew.  On a broker
        that cannot do that they come at the time that they were given.
        """
        try:
            rate = parse_rate(rate_limit)
        except ValueError as error:
            return {"error": f"Invalid rate limit string: {error!r}"}
        if task_name not in self._work.tasks:
            return {"error": "unknown task"}
        self._policy.rates.set(task_name, rate)
        self.bring_back(task_name)
        return {"ok": "new rate limit set successfully" if rate else "rate limit disabled successfully"}

    def bring_back(self, task_name: str) -> None:
        """Bring the messages back that wait for a limit of this task that is gone."""
        if BrokerCan.ADVANCE not in self._broker.kind.can:
            return
        intake = self._tasks.intake
        now = clock.now()
        waiting = []
        for entry in intake.scheduled(_BROUGHT_BACK):
            try:
                headers = decode_headers(entry[1].headers)
            except ProtocolError:
                continue
            # A message that its sender wants later stays where it is.
            if headers.task == task_name and (headers.eta_at is None or headers.eta_at <= now):
                waiting.append(entry)
        if waiting:
            cast("Advancing", intake).advance(waiting, now)

    def time_limit(self, task_name: str, hard: float | None = None, soft: float | None = None) -> object:
        """Put limits in seconds in the place of the task's own, for runs that begin from now on."""
        if task_name not in self._work.tasks:
            return {"error": "unknown task"}
        limits = (float(soft or 0.0), float(hard or 0.0))
        if not all(0.0 <= limit < float("inf") for limit in limits):
            return {"error": f"time limits are seconds from 0, not soft={soft!r} hard={hard!r}"}
        self._policy.time_limits[task_name] = limits
        return {"ok": "time limits set successfully"}

    def pool_grow(self, n: int = 1) -> object:
        """Add slots."""
        return self._resize("grow", int(n))

    def pool_shrink(self, n: int = 1) -> object:
        """Take slots away, idle ones first; a busy one ends after its task."""
        return self._resize("shrink", -int(n))

    def _resize(self, verb: str, change: int) -> object:
        pool = self._work.pool
        worker = self._live.worker
        if self._autoscaler is not None:
            refusal = f"pool_{verb} is not supported with autoscale. Adjust autoscale range instead."
            return {"error": refusal}
        wanted = pool.capacity + change
        if wanted < 1:
            return {"error": f"pool_{verb}: {counted(pool.capacity, 'slot')}; at least one must stay"}
        if wanted > _MOST_SLOTS:
            return {"error": f"pool_{verb}: {wanted} slots are not accepted; use at most {_MOST_SLOTS}"}
        pool.resize(wanted)
        if pool.capacity != wanted:
            return {"error": f"pool_{verb} is not supported by a {worker.pool} pool"}
        self._tasks.intaking.look()
        return {"ok": f"pool will {verb}"}

    def autoscale(self, max: int | None = None, min: int | None = None) -> object:  # noqa: A002 - Celery's
        """Change the bounds between which the pool follows its load; None leaves one as it is."""
        autoscaler = self._autoscaler
        if autoscaler is None:
            return {"error": "ValueError('Autoscale not enabled'): set min_concurrency below concurrency"}
        try:
            most, least = autoscaler.update(max, min)
        except ValueError as error:
            return {"error": repr(error)}
        return {"ok": f"autoscale now max={most} min={least}"}

    def pool_restart(self, modules: object = None, reload: bool = False, reloader: object = None) -> object:
        """Refuse, as Celery does by default: the supervisor replaces whole workers, without a gap."""
        return {"error": "ValueError('Pool restarts not enabled'): use taskctl restart or taskctl reload"}

    def add_consumer(
        self,
        queue: str,
        exchange: str | None = None,
        exchange_type: str | None = None,
        routing_key: str | None = None,
        **options: object,
    ) -> object:
        """Consume from ``queue`` too; it is made if missing, and bound if more than its name is given."""
        if options:
            return {"error": f"add_consumer: {', '.join(sorted(options))} cannot be declared by a worker"}
        if len(self._tasks.intake.queues()) >= _MOST_QUEUES:
            return {"error": f"add_consumer: a worker consumes from at most {_MOST_QUEUES} queues"}
        if exchange or routing_key or exchange_type not in (None, "", "direct"):
            kind = topology.exchange_type(exchange_type or "direct")
            self._broker.bind(queue, exchange or queue, kind, routing_key or queue)
        self._tasks.intake.add_queue(queue)
        self._tasks.intaking.look()
        return {"ok": f"add consumer {queue}"}

    def cancel_consumer(self, queue: str) -> object:
        """Stop consuming from ``queue``; messages that were claimed from it still run."""
        self._tasks.intake.cancel_queue(queue)
        self._tasks.intaking.look()
        return {"ok": f"no longer consuming from {queue}"}

    def shutdown(self, msg: object = None) -> object:
        """End this worker warmly.  Under taskd the supervisor starts it again: the answer says so."""
        self._orders.request_shutdown(Shutdown.WARM)
        program = self._facts.owner.partition("@")[0]
        return {"ok": f"ends warmly; its supervisor starts it again: taskctl stop {program} keeps it stopped"}
