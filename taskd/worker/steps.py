"""The steps of the outer blueprint, in the order of their start.

Pool stands before Queues, so that the template imports the user's code while the worker opens its
database.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from taskd.app.life_hooks import Stage
from taskd.base import clock
from taskd.base import loop as loops
from taskd.base.blueprint import Given, Step
from taskd.base.errors import BrokerError, StorageError
from taskd.base.ids import node_name, node_of
from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop, Owner
from taskd.brokers import factory as brokers
from taskd.brokers.base import Broker, Publisher
from taskd.config.kinds import PoolTrait
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer.consumer import Consumer
from taskd.consumer.context import Autoscaling, Context, Fatal, Shutdown
from taskd.consumer.heart import BUSY_INTERVAL_S
from taskd.host.priority import come_forward
from taskd.pools.base import Pool
from taskd.program.bond import Reporter
from taskd.results import factory
from taskd.results.base import ChordStore, ResultStore
from taskd.revocations.store import Forgiving, RevocationStore, state_of
from taskd.sending.replies import open_results
from taskd.worker.ledger import Ledger
from taskd.worker.life import Life
from taskd.worker.pools import PoolEvents, make_pool
from taskd.worker.rereading import reread
from taskd.worker.signals import SignalWatch
from taskd.worker.stages import PoolStages

logger = logging.getLogger(__name__)

#: Killed slots are gone within this; then the worker leaves all the same.
_KILL_GRACE_S = 2.0
#: A silent worker runs tasks in the loop, which can renew nothing meanwhile: its lease must outlast any task.
#: One that dies is still recovered at once, by its successor of the same name.
_SILENT_LEASE_S = 86_400.0
#: How often results whose time has come are deleted; each worker does it, in small bites.
_EXPIRE_EVERY_S = 60.0


@dataclass(frozen=True, slots=True)
class Program:
    """The identity of this worker: its name, such as ``mail-1``, and its table of the file."""

    name: str
    config: Config
    worker: WorkerConfig
    #: Returns the configuration with the changes that came since; None where nobody sends any.
    latest: Callable[[], Config] | None = None


class Timer(Step[Loop]):
    """Provides the loop: the clockwork of everything that follows."""

    name = "Timer"

    def __init__(self) -> None:
        self._loop: Loop | None = None

    def start(self, given: Given) -> Loop:
        """Make the loop.  An unforeseen error costs the one call, and its owner looks again."""
        # The log has said it; a broker or a store that is away is for the consumer.
        owner = Owner("one call of the worker", lambda _why: None, again=True)
        self._loop = Loop(owner, passing=(BrokerError, StorageError))
        return self._loop

    def stop(self, deadline: Deadline) -> None:
        """Release the loop's descriptors."""
        if self._loop is not None:
            self._loop.close()


class Hub(Step[SignalWatch]):
    """Attaches the signals to the loop."""

    name = "Hub"
    requires = (Timer,)

    def start(self, given: Given) -> SignalWatch:
        """Record signals from now on; the consumer obeys them as soon as it exists."""
        return SignalWatch(given[Timer])


class PoolStep(Step[tuple[Pool, PoolEvents]]):
    """Starts the pool; its slots become ready while the other steps start."""

    name = "Pool"
    requires = (Hub,)

    def __init__(self, program: Program) -> None:
        self._program = program
        self._pool: Pool | None = None
        self._ledger: Ledger | None = None

    def start(self, given: Given) -> tuple[Pool, PoolEvents]:
        """Start it.

        Raises: ``AppImportError`` when a pool that runs in place cannot import the user's code.
        """
        events = PoolEvents()
        program = self._program
        self._pool = make_pool(program.worker, program.config, node_name(program.name), events)
        given[Timer].take_signals_back()  # the import of the task code may have taken them
        self._ledger, self._run_stage = events.ledger, events.run_stage
        if self._ledger is not None:
            given[Hub].at_once = self._ledger.stopping
        self._pool.start(given[Timer], events.on_outcomes)
        # Before anything is opened that others wait for.  A template still imports and comes by itself.
        come_forward(with_descendants=PoolTrait.CHILDREN not in program.worker.kind.traits)
        return self._pool, events

    def stop(self, deadline: Deadline) -> None:
        """Leave no slot behind."""
        if self._pool is not None and not self._pool.stopped:
            self._pool.kill()
        if self._ledger is not None:
            self._ledger.close()
        self._run_stage(Stage.PROCESS_SHUTDOWN)


@dataclass(frozen=True, slots=True)
class Stores:
    """The worker's ends of the broker and of the results."""

    broker: Broker
    publisher: Publisher
    results: ResultStore
    chords: ChordStore | None
    queues: Sequence[str]


class Queues(Step[Stores]):
    """Names the queues and where they live; nothing is opened before it is needed."""

    name = "Queues"
    requires = (Timer,)

    def __init__(self, program: Program) -> None:
        self._program = program
        self._stores: Stores | None = None
        self._expiry: loops.Timer | None = None

    def start(self, given: Given) -> Stores:
        """Provide broker, publisher and result store."""
        config = self._program.config
        broker = brokers.connect(config.broker, config.stores)
        stores = Stores(
            broker,
            broker.publisher(),
            open_results(config, broker),
            factory.chords(config.results, config.stores, config.result_expires),
            self._program.worker.queues,
        )
        loop = given[Timer]

        def expire() -> None:
            try:
                stores.results.expire(clock.now())
            except StorageError as error:
                logger.error("old results could not be deleted: %s", error)

        self._expiry = loop.every(_EXPIRE_EVERY_S, expire)
        self._stores = stores
        return stores

    def stop(self, deadline: Deadline) -> None:
        """Close what was opened."""
        if self._expiry is not None:
            self._expiry.cancel()
        if self._stores is not None:
            self._stores.publisher.close()
            self._stores.results.close()
            if self._stores.chords is not None:
                self._stores.chords.close()
            self._stores.broker.close()


class StateDB(Step[RevocationStore | None]):
    """Provides what lets revocations outlive the worker; None where the broker has no place for it."""

    name = "StateDB"

    def __init__(self, program: Program) -> None:
        self._program = program
        self._state: RevocationStore | None = None

    def start(self, given: Given) -> RevocationStore | None:
        """Say where it is; the consumer reads it as soon as it can hear what is revoked."""
        config = self._program.config
        state = state_of(config.broker, config.stores)
        self._state = None if state is None else Forgiving(state)
        return self._state

    def stop(self, deadline: Deadline) -> None:
        """Close it."""
        if self._state is not None:
            self._state.close()


class Report(Step[Reporter]):
    """Speaks to the supervisor over the status descriptor."""

    name = "Report"
    requires = (Timer, Hub)

    def __init__(self, reporter: Reporter) -> None:
        self._reporter = reporter

    def start(self, given: Given) -> Reporter:
        """Join the loop; when the supervisor is gone, end cold."""
        self._reporter.attach(given[Timer], on_gone=given[Hub].end_cold)
        return self._reporter

    def stop(self, deadline: Deadline) -> None:
        """Leave the loop; the program still has its last words."""
        self._reporter.detach()


class ConsumerStep(Step[Context]):
    """Runs the inner blueprint until the worker is told to end; blocks in ``start``."""

    name = "Consumer"
    requires = (PoolStep, Queues, StateDB, Report, Hub)
    last = True

    def __init__(self, program: Program) -> None:
        self._program = program
        self.fatal: Fatal | None = None
        #: Additions of the other steps of the outer blueprint to ``inspect stats``.
        self.worker_info: Callable[[], Mapping[str, object]] = dict
        #: None for a pool of fixed size.
        self.autoscaler: Autoscaling | None = None

    def start(self, given: Given) -> Context:
        """Consume, then end the pool and settle the rest."""
        context = self._context(given)
        consumer = Consumer(context)
        _, events = given[PoolStep]
        events.attach(context, consumer.outcomes.take)
        life = Life(context.report, events.run_stage, PoolStages(context))
        context.report = life.report
        if latest := self._program.latest:
            given[Hub].on_reread = lambda: reread(context, events, latest)
        given[Hub].tell(context.request_shutdown, context.set_quiet)
        try:
            consumer.run()
        finally:
            life.stopping()
            life.before_the_pool_ends()
            running = context.pool.running()
            self._end_pool(context)
            consumer.finish(running)
            life.stopped()
            self.fatal = context.fatal
        return context

    def _context(self, given: Given) -> Context:
        pool, _ = given[PoolStep]
        stores = given[Queues]
        worker = self._program.worker
        if PoolTrait.SILENT in worker.kind.traits:
            worker = replace(worker, lease=max(worker.lease, _SILENT_LEASE_S))
        return Context(
            node_name=node_of(self._program.name, worker.node),
            owner=node_name(self._program.name),
            config=self._program.config,
            worker=worker,
            loop=given[Timer],
            pool=pool,
            broker=stores.broker,
            publisher=stores.publisher,
            results=stores.results,
            chords=stores.chords,
            report=given[Report].report,
            started_at=clock.monotonic(),
            queues=stores.queues,
            worker_info=self.worker_info,
            autoscaler=self.autoscaler,
            state=given[StateDB],
        )

    def _end_pool(self, context: Context) -> None:
        """End the slots: softly when nothing runs, at once when tasks are to be given back."""
        pool = context.pool
        if context.shutdown is Shutdown.WARM and pool.held == 0:
            deadline = Deadline.after(_KILL_GRACE_S)
            pool.stop(deadline)
            while not pool.stopped and not deadline.passed and context.shutdown is Shutdown.WARM:
                context.loop.run_once(min(deadline.remaining_s(), BUSY_INTERVAL_S))
        if not pool.stopped:
            pool.kill()
