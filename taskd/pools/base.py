"""The seam of pools: jobs go in as bytes, outcomes come back as bytes or as a closed set of ends.

The *target* is a callable ``bytes -> bytes`` that never raises for an error of the job itself
(it encodes that in its reply).  One that raises all the same is a defect and becomes ``Broken``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop

Target = Callable[[bytes], bytes]

#: SIGKILL, also where there is no process that it could be sent to.
KILL = 9


class Job(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One piece of work.  A msgspec struct: tens of thousands a second are made and encoded."""

    #: Chosen by the submitter; unique among the jobs that a pool holds.
    tag: int
    payload: bytes
    #: Expected run time; 0 when unknown.  A pool may put several *short* jobs in one trip, and
    #: never puts one behind a job of unknown or long run time while another slot is idle.
    expected_s: float = 0.0
    #: After this many seconds of running the target's exception for it is raised in the job; 0: none.
    soft_limit_s: float = 0.0
    #: After this many seconds of running the job is ended; 0: none.
    hard_limit_s: float = 0.0


class Done(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=0):
    """The target returned."""

    tag: int
    reply: bytes
    runtime_s: float


class Broken(msgspec.Struct, frozen=True, gc=False, array_like=True, tag=1):
    """The target raised, which it must not: a defect of the executor."""

    tag: int
    traceback: str


class TimedOut(msgspec.Struct, frozen=True, gc=False):
    """The hard limit passed and the job was ended; its effects up to then stand."""

    tag: int
    limit_s: float


class Cancelled(msgspec.Struct, frozen=True, gc=False):
    """The job was cancelled on request; ``started`` tells whether it had begun to run."""

    tag: int
    started: bool


class ChildLost(msgspec.Struct, frozen=True, gc=False):
    """The process that held the job died.

    ``started`` off: it was in the child's hands but certainly had not begun.  ``signal`` is 0 for
    an exit, ``exit_code`` is -1 for a signal.  ``last_words``: the end of the child's faulthandler
    output or the like, ``last_lines``: what the job wrote last; either may be empty.
    """

    tag: int
    pid: int
    started: bool
    exit_code: int
    signal: int
    max_rss_bytes: int = 0
    last_words: str = ""
    last_lines: str = ""


Outcome = Done | Broken | TimedOut | Cancelled | ChildLost
OnOutcomes = Callable[[Sequence[Outcome]], None]


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that has begun: where and since when (monotonic)."""

    tag: int
    pid: int
    since: float


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """A process of a pool; times are monotonic.  ``leaving``: no new job; ``heir``: waits for a place."""

    pid: int
    #: When it last reported, or was forked.
    heard: float
    leaving: bool = False
    heir: bool = False


@dataclass(frozen=True, slots=True)
class ChildEnd:
    """A process of a pool that ended and was not told to end in order.

    ``exit_code`` is -1 for a signal, ``signal`` 0 for an exit.  ``outcome`` is that of the job that it
    was in, and comes in the usual way, too, but later; None when it was in none.  ``began``: since when it
    was in that job (monotonic).
    """

    pid: int
    exit_code: int
    signal: int
    max_rss_bytes: int
    lived_s: float
    last_words: str
    outcome: Outcome | None
    began: float


@dataclass(frozen=True, slots=True)
class PoolInfo:
    """The figures of a pool in ``inspect stats`` and in the heartbeat."""

    implementation: str
    max_concurrency: int
    processes: Sequence[int] = ()
    details: Mapping[str, object] = field(default_factory=dict)
    #: The processes again, with how they fare; empty where jobs run in the caller's process.
    children: Sequence[ChildInfo] = ()


class Pool(Protocol):
    """Runs jobs on ``capacity`` slots.  All calls are for the loop's thread and do not block.

    Outcomes come through ``on_outcomes``, in the loop's thread, exactly one for each job.
    Solo is the exception that blocks: ``submit`` runs the job in place.
    """

    capacity: int

    def start(self, loop: Loop, on_outcomes: OnOutcomes) -> None:
        """Start the slots; ``ready`` becomes true later.  Raises ``StartError``."""

    @property
    def ready(self) -> bool:
        """Whether all slots can run jobs.  ``on_ready`` (constructor) is called once it is so."""

    @property
    def slots(self) -> int:
        """How many jobs can run now; fewer than ``capacity`` while slots can not be had."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Take jobs; jobs without a slot wait in the pool, in order."""

    @property
    def held(self) -> int:
        """How many jobs are in the pool, running or waiting."""

    def running(self) -> Sequence[RunningJob]:
        """Return the jobs that have begun, as far as the pool knows."""

    def cancel(self, tag: int, signum: int) -> bool:
        """End one job; True when it was found.  Waiting: dropped.  Running: ended with ``signum`` if the pool
        can (prefork).  Where there is no process to signal an exception is raised in the job.  ``KILL`` gives
        the job up: its outcome comes now, and a later return value is dropped.  Solo leaves a running job
        alone.  For more than one step, the caller asks again (``consumer``).

        ``signum`` 0 leaves a job alone that has begun, however late the pool learns of it.
        """

    def soften(self, tag: int) -> bool:
        """Raise the exception of the soft limit in one running job, as far as the pool can raise anything.

        Return whether it runs and was asked.  A job that is waiting, or has just ended, is left alone.
        """

    def recall(self) -> Sequence[int]:
        """Take back every job that has certainly not begun; return their tags.  No outcome follows."""

    def resize(self, capacity: int) -> None:
        """Change the number of slots; a busy slot ends after its job."""

    def info(self) -> PoolInfo:
        """Describe the pool."""

    def stop(self, deadline: Deadline) -> None:
        """Take no new job and end slots as they become idle; ``stopped`` turns true at the end."""

    @property
    def stopped(self) -> bool:
        """Whether no slot is left."""

    def kill(self) -> None:
        """End every slot at once.  Jobs get no outcome any more."""
