"""The parts of one worker, handed from the outer blueprint to the steps of the inner one.

The part that outlives a lost broker: requests in the pool, revoked ids, measured run times, unsent
settlements.  One object per worker; only the loop's thread touches it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol

from taskd.base.loop import Loop
from taskd.brokers.base import Broker, Publisher
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.consumer.claiming.prefetch import RunTimes
from taskd.consumer.claiming.rate_limits import RateLimits
from taskd.consumer.claiming.suspects import Suspects
from taskd.consumer.neighbours.task_events import TaskEvents
from taskd.consumer.request import Request
from taskd.events.dispatcher import Dispatcher
from taskd.pools.base import Outcome, Pool
from taskd.protocol.lamport import LamportClock
from taskd.protocol.status import StatusLine
from taskd.results.base import ChordStore, ResultStore
from taskd.revocations.known import Revocations
from taskd.revocations.store import RevocationStore
from taskd.sending.options import TaskOptions


class Shutdown(IntEnum):
    """How the worker was asked to end; the more immediate request wins."""

    NONE = 0
    #: Take nothing new, finish what runs, settle, leave.
    WARM = 1
    #: Kill what runs, put it back in its queue, leave.
    COLD = 2


def _nothing(how: Shutdown) -> None:
    """Nobody listens yet."""


def not_heard(name: str) -> None:
    """There is no broker to bring anything back from."""


@dataclass(frozen=True, slots=True)
class Fatal:
    """Why the worker cannot go on at all, and the exit status that says so."""

    exit_code: int
    reason: str
    detail: str = ""


class Autoscaling(Protocol):
    """The calls that the Autoscaler offers while it takes part."""

    def update(self, most: int | None, least: int | None) -> tuple[int, int]:
        """Change the bounds, None for as before; return both.  Raises ``ValueError`` for senseless ones."""


class Electing(Protocol):
    """The calls that Gossip offers while it runs."""

    def elect(self, election: str, topic: str, action: object) -> None:
        """Choose one of the workers to do something."""

    def names(self) -> Sequence[str]:
        """Return the other workers that are alive."""

    def stop(self) -> None:
        """Listen no more."""


@dataclass(slots=True)
class Context:
    """One worker's parts and its state."""

    node_name: str
    config: Config
    worker: WorkerConfig
    loop: Loop
    pool: Pool
    broker: Broker
    publisher: Publisher
    results: ResultStore
    report: Callable[[StatusLine], None]
    started_at: float
    queues: Sequence[str] = ()
    #: Counts the parts of chords; None where results are kept without that.
    chords: ChordStore | None = None
    #: The owner of claims: the program's own name on this host, however others are to call the node.
    owner: str = ""
    #: Additions of the worker's own steps to ``inspect stats``.
    worker_info: Callable[[], Mapping[str, object]] = dict
    tasks: dict[str, TaskOptions] = field(default_factory=dict)
    requests: dict[int, Request] = field(default_factory=dict)
    revoked: Revocations = field(default_factory=Revocations)
    #: Where revocations outlive the worker; None for a broker without a file.
    state: RevocationStore | None = None
    #: Tasks that the former process of this worker may have died of.
    suspects: Suspects = field(default_factory=Suspects)
    rates: RateLimits = field(init=False)
    #: Brings back what waits for the limit of a task, which has changed.
    on_rate: Callable[[str], None] = not_heard
    #: Soft and hard limits in seconds that an operator put in the place of a task's own.
    time_limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    run_times: RunTimes = field(default_factory=RunTimes)
    totals: Counter[str] = field(default_factory=Counter)
    #: Runs that have ended, however, and those of them that are FAILURE.
    done: int = 0
    failed: int = 0
    #: Takes nothing new until it is told to go on.
    quiet: bool = False
    shutdown: Shutdown = Shutdown.NONE
    fatal: Fatal | None = None
    #: Hears of each request that changes ``shutdown``.
    on_shutdown: Callable[[Shutdown], None] = _nothing
    #: Set for a moment at start, while neighbours are asked what must not run.
    claims_held: bool = False
    #: Commands of the app that run in the pool, by tag; called with their outcomes.
    calls: dict[int, Callable[[Outcome], None]] = field(default_factory=dict)
    #: None while the pool's size is fixed.
    autoscaler: Autoscaling | None = None
    #: None while Gossip takes no part.
    neighbours: Electing | None = None
    logical: LamportClock = field(default_factory=LamportClock)
    dispatcher: Dispatcher = field(init=False)
    task_events: TaskEvents = field(init=False)

    def __post_init__(self) -> None:
        self.owner = self.owner or self.node_name
        self.rates = RateLimits(self.worker.rate_limits)
        self.dispatcher = Dispatcher(
            self.loop, self.node_name, self.logical, tasks_enabled=self.worker.events
        )
        self.task_events = TaskEvents(self.loop, self.dispatcher, self.pool, self.requests)

    def request_shutdown(self, how: Shutdown) -> None:
        """Ask the worker to end; a milder request than an earlier one changes nothing."""
        if how > self.shutdown:
            self.shutdown = how
            self.on_shutdown(how)

    def note_end(self, options: TaskOptions, *, failed: bool) -> None:
        """Count a run that has ended, however."""
        self.totals[options.name] += 1
        self.done += 1
        self.failed += failed

    def set_quiet(self, quiet: bool) -> None:
        """Rest, or go on; neither touches running tasks."""
        self.quiet = quiet

    def end_by(self, fatal: Fatal) -> None:
        """Give up: the worker ends cold with ``fatal.exit_code``.  The first reason stays."""
        self.fatal = self.fatal or fatal
        self.request_shutdown(Shutdown.COLD)
