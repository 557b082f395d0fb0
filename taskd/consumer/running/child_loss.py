"""Decides on a task whose pool child died: run again, or be parked with the evidence.  Pure."""

from __future__ import annotations

import msgspec

from taskd.base.exit_codes import describe_signal
from taskd.base.plural import counted
from taskd.pools.base import ChildLost
from taskd.protocol.delivery import Dead, Requeue


def cause(lost: ChildLost) -> str:
    """Return in words how the child ended, as Celery's WorkerLostError does."""
    if _whole_worker(lost):
        return "the death of the whole worker"
    return describe_signal(lost.signal) if lost.signal else f"exit code {lost.exit_code}"


def _whole_worker(lost: ChildLost) -> bool:
    """Whether the task ran in the worker itself, whose successor does not know how it died."""
    return not lost.signal and lost.exit_code < 0


def after_child_lost(tag: int, deaths: int, max_deaths: int, lost: ChildLost) -> Requeue | Dead:
    """Decide about the message ``tag`` that had killed ``deaths`` children before this one."""
    if not lost.started:
        return Requeue(tag, started=False)
    if deaths + 1 < max_deaths:
        return Requeue(tag, died=True)
    evidence = {
        "deaths": deaths + 1,
        "pid": lost.pid,
        "signal": lost.signal,
        "exit_code": lost.exit_code,
        "max_rss_bytes": lost.max_rss_bytes,
        "last_words": lost.last_words,
        "last_lines": lost.last_lines,
    }
    what = "worker" if _whole_worker(lost) else "pool child"
    times = f"its {what} died {counted(deaths + 1, 'time')}"
    reason = times if _whole_worker(lost) else f"{times}, {'last ' if deaths else ''}by {cause(lost)}"
    return Dead(tag, reason, msgspec.json.encode(evidence), died=True)
