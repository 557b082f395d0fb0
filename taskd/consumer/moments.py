"""The moments of one worker, on which everything that cuts across hangs.

Moments come in batches: one call a turn of the loop, never one a message.  Task events, the ledger, run
times, the tally and the stages of the worker's life subscribe.  Rate limits, suspects and the parts of chords
decide about a message: they are asked in their place and do not subscribe.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskd.base.moment import Moment
from taskd.consumer.request import WorkerRequest
from taskd.pools.base import Outcome
from taskd.protocol.delivery import Settlement
from taskd.protocol.execution import DecidedEnd, Reply
from taskd.protocol.message import TaskHeaders
from taskd.sending.options import TaskOptions


class RunStarted(msgspec.Struct, frozen=True, gc=False):
    """A task that has begun, at the wall-clock second ``at``."""

    headers: TaskHeaders
    options: TaskOptions
    at: float


class RunEnded(msgspec.Struct, frozen=True, gc=False):
    """The end of a task, or of one run of it."""

    headers: TaskHeaders
    #: None for a task that this worker does not know.
    options: TaskOptions | None
    #: How the task itself ended; None where the worker decided.
    reply: Reply | None = None
    #: The end that the worker decided; None with a reply, and for a run whose message goes back to its queue.
    decided: DecidedEnd | None = None
    #: How long the task ran; None where nobody measured it.
    runtime_s: float | None = None
    failed: bool = False
    #: Whether it ran: False for a message that was refused or dropped before.
    ran: bool = True
    #: Somebody ended it on request, with this signal if not 0.
    terminated: bool = False
    signum: int = 0
    expired: bool = False


class RunLost(msgspec.Struct, frozen=True, gc=False):
    """A run of which the executor said nothing, because its process was killed or died."""

    request: WorkerRequest
    #: The report of the pool; None for a run that a cold stop cut off.
    outcome: Outcome | None


class Settled(msgspec.Struct, frozen=True, gc=False):
    """The settlements of one flush; ``refused`` are the tags whose lease another worker has."""

    settlements: Sequence[Settlement]
    refused: Sequence[int]


class Moments:
    """All moments of one worker.  For the loop's thread."""

    __slots__ = (
        "broker_found",
        "broker_lost",
        "drained",
        "draining",
        "ended",
        "limits_changed",
        "lost",
        "ready",
        "received",
        "settled",
        "started",
    )

    def __init__(self) -> None:
        #: Tasks go to the pool.
        self.received: Moment[Sequence[WorkerRequest]] = Moment("received")
        #: Tasks have begun; noticed a little late, ``at`` is true.
        self.started: Moment[Sequence[RunStarted]] = Moment("started")
        self.ended: Moment[Sequence[RunEnded]] = Moment("ended")
        self.lost: Moment[Sequence[RunLost]] = Moment("lost")
        #: Settlements have reached the broker.
        self.settled: Moment[Settled] = Moment("settled")
        #: The worker consumes; again after each loss of its broker.
        self.ready: Moment[None] = Moment("ready")
        #: A warm end begins, and: nothing runs or is unsettled any more.
        self.draining: Moment[None] = Moment("draining")
        self.drained: Moment[None] = Moment("drained")
        #: A reload has changed the rate limits of these tasks.
        self.limits_changed: Moment[Sequence[str]] = Moment("limits changed")
        #: The broker cannot be used, said at each attempt; and: claims are open.
        self.broker_lost: Moment[Exception] = Moment("broker lost")
        self.broker_found: Moment[None] = Moment("broker found")
