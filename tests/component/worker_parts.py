"""The parts of a worker without its outer blueprint, for tests that run a consumer over their own."""

from __future__ import annotations

from collections.abc import Callable

from taskd.base.loop import Loop
from taskd.brokers.base import Broker, Publisher
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer.backends import Backends
from taskd.consumer.claiming.policy import Policy
from taskd.consumer.claiming.rate_limits import RateLimits
from taskd.consumer.claiming.suspects import Suspects
from taskd.consumer.facts import WorkerFacts
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.moments import Moments
from taskd.consumer.orders import Orders
from taskd.consumer.parts import Parts
from taskd.consumer.running.revoked_tasks import RevokedTasks
from taskd.consumer.running.work import Work
from taskd.consumer.voice import Voice
from taskd.pools.base import Pool
from taskd.protocol.status import StatusLine
from taskd.results.base import ResultStore
from taskd.results.null import NullResults
from taskd.sending.options import TaskOptions


def worker_parts(
    loop: Loop,
    pool: Pool,
    broker: Broker,
    *tasks: TaskOptions,
    name: str = "main-1@here",
    queue: str = "default",
    worker: WorkerConfig | None = None,
    config: Config | None = None,
    publisher: Publisher | None = None,
    results: ResultStore | None = None,
    report: Callable[[StatusLine], None] = lambda line: None,
    work: Work | None = None,
    live: LiveConfig | None = None,
    orders: Orders | None = None,
) -> Parts:
    """Return the parts of a worker; what is not given is what a test without it needs."""
    live = live or LiveConfig(config or Config(), worker or WorkerConfig(name="main"))
    work = work or Work.of(pool, {each.name: each for each in tasks})
    return Parts(
        loop=loop,
        facts=WorkerFacts(name, name, 0.0),
        live=live,
        orders=orders or Orders(),
        moments=Moments(),
        work=work,
        policy=Policy(RevokedTasks(work, None), RateLimits(live.worker.rate_limits), Suspects()),
        backends=Backends(broker, publisher or broker.publisher(), results or NullResults()),
        voice=Voice.of(loop, name, report, tasks_enabled=live.worker.events),
        queues=(queue,),
    )
