"""Tell the supervisor of a pool child that died: how, in which task, and what became of that."""

from __future__ import annotations

from taskd.base.exhaustive import assert_never
from taskd.base.exit_codes import describe_signal
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.child_loss import decide
from taskd.pools.base import Broken, Cancelled, ChildEnd, ChildLost, Done, Outcome, TimedOut
from taskd.protocol.status import ChildDied, RunningTask


def obituary(end: ChildEnd, request: WorkerRequest | None, max_deaths: int, now: float) -> ChildDied:
    """Return the line for a child that died while it ran the task of ``request``, or none."""
    task = None
    if request is not None:
        task = RunningTask(request.headers.id, request.headers.task, end.pid, max(0.0, now - end.began))
    if isinstance(end.outcome, TimedOut):
        cause = f"its task's time limit of {end.outcome.limit_s:g} s"
    else:
        cause = describe_signal(end.signal) if end.signal else f"exit code {end.exit_code}"
    became = "" if request is None or end.outcome is None else fate(request, end.outcome, max_deaths)
    return ChildDied(
        pid=end.pid,
        exit_code=None if end.signal else end.exit_code,
        signal=end.signal or None,
        cause=cause,
        asked=isinstance(end.outcome, Cancelled),
        max_rss_bytes=end.max_rss_bytes,
        lived_s=end.lived_s,
        last_words=end.last_words,
        task=task,
        fate=became,
    )


def fate(request: WorkerRequest, outcome: Outcome, max_deaths: int) -> str:
    """Return in words what becomes of a task with this outcome.  Pure."""
    match outcome:
        case ChildLost():
            delivery = request.delivery
            words = decide(
                delivery.deaths,
                max_deaths,
                outcome,
                delivery.tag,
                acknowledged=request.acks_early,
                again=request.options.again_when_lost,
            ).fate
        case TimedOut():
            words = "failed by its time limit"
        case Cancelled():
            words = "terminated on request"
        case Done() | Broken():
            words = "ended before its child did"
        case _:
            assert_never(outcome)
    return words
