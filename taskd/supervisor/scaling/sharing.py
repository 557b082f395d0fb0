"""Shares the machine out when it cannot give every group what it needs.  Pure.

Weighted max-min fairness (Bertsekas and Gallager, Data Networks, 6.5.2) by progressive filling.  Every group
has its floor, then one process at a time goes to the group that has least for its weight and needs more.  A
group that needs little gets it whole; only groups that want more than their share wait.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskd.supervisor.scaling.load import MachineBudget


@dataclass(frozen=True, slots=True)
class Claim:
    """The request of one group.  ``process_bytes``: memory of one more process of it, 0 unknown.

    ``leaving``: processes that finish their work; they take memory, and no share of the processes.
    """

    least: int
    wanted: int
    weight: float
    process_bytes: int = 0
    leaving: int = 0


def share(claims: Mapping[str, Claim], budget: MachineBudget) -> dict[str, int]:
    """Return the number of processes of each group: its floor at least, what it wants at most.

    Floors are given even where they exceed the budget: an operator asked for both, and a queue
    without any worker is the worse of the two.
    """
    given = {name: min(claim.least, claim.wanted) for name, claim in claims.items()}
    used = sum(given.values())
    used_bytes = sum((given[name] + claim.leaving) * claim.process_bytes for name, claim in claims.items())
    open_to_more = set(claims)
    while open_to_more:
        name = min(open_to_more, key=lambda each: (given[each] / claims[each].weight, each))
        claim = claims[name]
        if given[name] >= claim.wanted:
            open_to_more.discard(name)
        elif budget.processes and used >= budget.processes:
            break
        elif budget.memory_bytes and used_bytes + claim.process_bytes > budget.memory_bytes:
            open_to_more.discard(name)  # a smaller one may still fit
        else:
            given[name] += 1
            used += 1
            used_bytes += claim.process_bytes
    return given
