"""End one running task step by step: ask it, signal it, kill it, each by its absolute deadline.

``steps`` decides and is pure; ``Escalation`` carries it out.  ``taskd.pools.base.Pool.cancel`` says what
a step means on a pool without processes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from taskd.base.loop import Loop
from taskd.config.programs import WorkerConfig
from taskd.consumer.request import Softened, WorkerRequest
from taskd.consumer.running.work import Work
from taskd.pools.base import KILL

#: In the place of a signal: raise ``SoftTimeLimitExceeded`` in the task.
SOFT = 0


@dataclass(frozen=True, slots=True)
class EscalationLadder:
    """How much time each step has: ``soft_s`` 0 leaves the first out, ``term_s`` is from signal to KILL."""

    soft_s: float
    term_s: float


@dataclass(frozen=True, slots=True)
class EscalationStep:
    """The act at the monotonic time ``at``: send ``signum``, or ask the task if that is ``SOFT``."""

    at: float
    signum: int


def steps(ladder: EscalationLadder, signum: int, now: float) -> Sequence[EscalationStep]:
    """Return the steps that end a task from ``now`` on, the first of them at once."""
    found = [EscalationStep(now, SOFT)] if ladder.soft_s > 0.0 else []
    signal_at = now + ladder.soft_s
    found.append(EscalationStep(signal_at, signum))
    if signum != KILL:
        found.append(EscalationStep(signal_at + ladder.term_s, KILL))
    return found


class Escalation:
    """Ends tasks of one worker.  For the loop's thread; outlives a lost broker."""

    def __init__(self, loop: Loop, work: Work) -> None:
        self._loop = loop
        self._work = work

    def begin(self, tag: int, request: WorkerRequest, plan: Sequence[EscalationStep]) -> bool:
        """End the task ``tag`` by ``plan``; one that waits is dropped at once.  False: the pool lacks it."""
        first, *later = plan
        for step in later:
            self._loop.call_at(step.at, partial(self._go_on, tag, request, step))
        return self._take(tag, request, first)

    def _go_on(self, tag: int, request: WorkerRequest, step: EscalationStep) -> None:
        self._take(tag, request, step)

    def _take(self, tag: int, request: WorkerRequest, step: EscalationStep) -> bool:
        work = self._work
        if work.requests.get(tag) is not request:
            return False  # it has ended
        if step.signum == SOFT:
            found = work.pool.cancel(tag, 0)
            if work.pool.soften(tag):
                request.softened = Softened.REVOKED
            return found
        request.terminated_by = step.signum
        return work.pool.cancel(tag, step.signum)


def ladder_of(worker: WorkerConfig, soft: object, term: object) -> EscalationLadder:
    """Return the worker's ladder with what a request says otherwise, in seconds.

    Raises: ``ValueError`` for values that are not seconds.
    """
    return EscalationLadder(
        _seconds("soft", soft, worker.terminate_soft_timeout),
        _seconds("term", term, worker.terminate_timeout),
    )


def _seconds(name: str, value: object, default: float) -> float:
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ValueError(f"{name} is a number of seconds from 0, not {value!r}")
    return float(value)
