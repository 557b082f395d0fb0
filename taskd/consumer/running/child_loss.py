"""A task whose process died: run it again, or park it with the evidence.

``decide`` is the one place that decides, and ``Losses`` the one that acts: for a child of the pool that died,
and for the whole worker before this one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import msgspec

from taskd.base.exit_codes import describe_signal
from taskd.base.plural import counted
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.answering import Answering
from taskd.consumer.running.failing import Failing
from taskd.consumer.settling import decided_ends
from taskd.pools.base import ChildLost
from taskd.protocol.delivery import Ack, Dead, Requeue

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Loss:
    """The decision on a task whose process died."""

    #: None where nothing is left to settle: its message was acknowledged before it ran.
    settlement: Requeue | Dead | Ack | None
    #: The same in words.
    fate: str

    @property
    def is_final(self) -> bool:
        """Whether the task does not run again."""
        return not isinstance(self.settlement, Requeue)


def cause(lost: ChildLost) -> str:
    """Return in words how the child ended, as Celery's WorkerLostError does."""
    if whole_worker(lost):
        return "the death of the whole worker"
    return describe_signal(lost.signal) if lost.signal else f"exit code {lost.exit_code}"


def whole_worker(lost: ChildLost) -> bool:
    """Whether the task ran in the worker itself, whose successor does not know how it died."""
    return not lost.signal and lost.exit_code < 0


def decide(
    deaths: int,
    max_deaths: int,
    lost: ChildLost,
    tag: int,
    *,
    acknowledged: bool = False,
    again: bool = True,
) -> Loss:
    """Decide about the message ``tag`` that had killed ``deaths`` processes before this one.  Pure.

    ``acknowledged``: before it ran, so that no message is left.  ``again``: the task may run once more after
    the death of its child; after that of the whole worker every task may.
    """
    if acknowledged:
        return Loss(None, "failed (acknowledged before it ran)")
    if not lost.started:
        return Loss(Requeue(tag, started=False), "queued again")
    if not again and not whole_worker(lost):
        return Loss(Ack(tag), "failed (its task does not run again after that)")
    if deaths + 1 < max_deaths:
        return Loss(Requeue(tag, died=True), f"queued again (death {deaths + 1} of {max_deaths})")
    evidence = {"deaths": deaths + 1, **known_of(lost)}
    what = "worker" if whole_worker(lost) else "pool child"
    times = f"its {what} died {counted(deaths + 1, 'time')}"
    reason = times if whole_worker(lost) else f"{times}, {'last ' if deaths else ''}by {cause(lost)}"
    return Loss(Dead(tag, reason, msgspec.json.encode(evidence), died=True), f"dead-lettered: {reason}")


def known_of(lost: ChildLost) -> dict[str, object]:
    """Return what is known of the end of a child."""
    return {
        "pid": lost.pid,
        "signal": lost.signal,
        "exit_code": lost.exit_code,
        "max_rss_bytes": lost.max_rss_bytes,
        "last_words": lost.last_words,
        "last_lines": lost.last_lines,
    }


class Losses:
    """Carries out what is decided about the losses of one worker.  For the loop's thread."""

    def __init__(self, live: LiveConfig, answering: Answering, failing: Failing) -> None:
        self._live = live
        self._answering = answering
        self._failing = failing

    def runs_again_after_its_limit(self, request: WorkerRequest) -> bool:
        """Return whether the hard limit leads to another run, which counts as a death of its process."""
        may = request.options.again_when_timed_out and not request.acks_early
        return may and request.delivery.deaths + 1 < self._live.worker.max_deaths

    def take(self, request: WorkerRequest, lost: ChildLost, *, acknowledged: bool) -> None:
        """Settle a task whose process died, and answer whoever waits if it does not run again."""
        delivery = request.delivery
        headers = request.headers
        max_deaths = self._live.worker.max_deaths
        loss = decide(
            delivery.deaths,
            max_deaths,
            lost,
            delivery.tag,
            acknowledged=acknowledged,
            again=request.options.again_when_lost,
        )
        how = (
            "was running when this worker died"
            if whole_worker(lost)
            else f"lost its pool child pid={lost.pid}: {cause(lost)}"
        )
        settlement = loss.settlement
        if isinstance(settlement, Requeue):
            logger.warning("task=%s id=%s %s; %s", headers.task, headers.id, how, loss.fate)
            self._answering.settle(request, settlement)
        else:
            logger.error("task=%s id=%s %s; %s", headers.task, headers.id, how, loss.fate)
            if not isinstance(settlement, Dead):
                reason = f"its process died: {cause(lost)}"
                settlement = self._failing.settlement(request, reason, known_of(lost))
            self._answering.cut_short(request, decided_ends.child_lost(headers, cause(lost)), settlement)
