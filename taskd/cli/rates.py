"""Rates between two looks at the daemon: tasks a second, processor share.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskd.supervisor.model.rows import ProgramRow


@dataclass(frozen=True, slots=True)
class LoadSample:
    """One look.  ``at`` is monotonic; ``cpu_s`` maps pids to the processor time of their whole trees."""

    at: float
    rows: Mapping[str, ProgramRow]
    cpu_s: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast a program goes; None when there is nothing to compare with.  ``cpu`` 1.0 is one processor."""

    tasks_per_s: float | None = None
    cpu: float | None = None


def pace(name: str, former: LoadSample | None, now: LoadSample) -> Pace:
    """Return the pace of a program since the former look; a process that is new has none yet."""
    row = now.rows[name]
    before = former.rows.get(name) if former is not None else None
    if former is None or before is None or row.pid is None or before.pid != row.pid:
        return Pace()
    span_s = now.at - former.at
    if span_s <= 0:
        return Pace()
    was_s = former.cpu_s.get(row.pid)
    is_s = now.cpu_s.get(row.pid)
    return Pace(
        tasks_per_s=max(0, row.done - before.done) / span_s,
        # Time of a child that was not waited for yet may go missing for a moment.
        cpu=None if was_s is None or is_s is None else max(0.0, is_s - was_s) / span_s,
    )
