"""How many processes one group needs for its load.  Pure.

Two things want capacity: waiting tasks must begin within the latency target, and tasks that keep arriving
must be served with some room to spare.  A queue in front of fully used slots only grows (utilisation law; 0.8
leaves the usual 20 %).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from taskd.base.plural import counted
from taskd.supervisor.scaling.load import GroupLimits, Load

#: Slots are planned to be at work for this part of the time.
UTILISATION = 0.8


@dataclass(frozen=True, slots=True)
class Demand:
    """``processes`` that would do, within the bounds, and the calculation in words."""

    processes: int
    why: str


def demand(load: Load, bounds: GroupLimits, present: int) -> Demand:
    """Return what the group needs, whatever other groups need and whatever was decided before."""
    needed, why = _unknown_run_time(load, present) if load.service_s <= 0.0 else _by_rates(load, bounds)
    if load.ready > 0:
        # While messages wait, no process whose slots are at work is one too many.
        at_work = math.ceil(load.busy / bounds.slots)
        if at_work > needed:
            needed = at_work
            why = f"{counted(load.busy, 'slot is', 'slots are')} at work while {_waiting(load)}"
    bounded = min(max(needed, bounds.least), bounds.most)
    if bounded > needed:
        why = f"the least is {bounds.least}; {why}"
    elif bounded < needed:
        why = f"the most is {bounds.most}; {needed} would be needed: {why}"
    return Demand(bounded, why)


def _by_rates(load: Load, bounds: GroupLimits) -> tuple[int, str]:
    backlog = load.ready * load.service_s / bounds.latency_s
    flow = load.arrivals_per_s * load.service_s / UTILISATION
    # Rounded first: 2.0000000001 slots are two.
    needed = math.ceil(round((backlog + flow) / bounds.slots, 6))
    return needed, (
        f"{load.ready} waiting x {load.service_s:.3g} s within {bounds.latency_s:g} s: {backlog:.2f} slots, "
        f"{load.arrivals_per_s:.3g} arrivals a second at {UTILISATION:.0%} use: {flow:.2f}; "
        f"{counted(bounds.slots, 'slot')} a process"
    )


def _unknown_run_time(load: Load, present: int) -> tuple[int, str]:
    # Nothing has finished yet, so nobody can say how much is needed: one more than there is, no leap.
    if load.ready == 0:
        return 0, "nothing waits and no task has run yet"
    if load.busy == 0:
        return 1, f"{_waiting(load)}, and no task has run yet"
    return (
        present + 1,
        f"{_waiting(load)} behind {counted(load.busy, 'running task')}, and none has finished yet",
    )


def _waiting(load: Load) -> str:
    return counted(load.ready, "message waits", "messages wait")
