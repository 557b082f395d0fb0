"""Tell the supervisor of a pool child that died: how, in which task, and what became of that."""

from __future__ import annotations

from taskd.base import clock
from taskd.base.exhaustive import assert_never
from taskd.base.exit_codes import describe_signal
from taskd.consumer.context import Context
from taskd.consumer.request import Request
from taskd.consumer.running.child_loss import after_child_lost
from taskd.pools.base import Broken, Cancelled, ChildEnd, ChildLost, Done, Outcome, TimedOut
from taskd.protocol.delivery import Dead
from taskd.protocol.status import ChildDied, RunningTask


def report_death(context: Context, end: ChildEnd) -> None:
    """Report it; for the loop's thread, before the outcome of the task is taken."""
    request = None if end.outcome is None else context.requests.get(end.outcome.tag)
    context.report(obituary(end, request, context.worker.max_deaths, clock.monotonic()))


def obituary(end: ChildEnd, request: Request | None, max_deaths: int, now: float) -> ChildDied:
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


def fate(request: Request, outcome: Outcome, max_deaths: int) -> str:
    """Return in words what becomes of a task with this outcome, as ``outcomes`` will do it.  Pure."""
    match outcome:
        case ChildLost():
            words = _after_loss(request, outcome, max_deaths)
        case TimedOut():
            words = "failed by its time limit"
        case Cancelled():
            words = "terminated on request"
        case Done() | Broken():
            words = "ended before its child did"
        case _:
            assert_never(outcome)
    return words


def _after_loss(request: Request, lost: ChildLost, max_deaths: int) -> str:
    if request.acks_early:
        return "failed (acknowledged before it ran)"
    deaths = request.delivery.deaths
    settlement = after_child_lost(request.delivery.tag, deaths, max_deaths, lost)
    if isinstance(settlement, Dead):
        return f"dead-lettered: {settlement.reason}"
    return f"queued again (death {deaths + 1} of {max_deaths})" if lost.started else "queued again"
