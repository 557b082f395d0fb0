"""How many processes each group should have now, and why.  Pure: the time is an argument.

Demand of each group, made steady, then shared out: what the machine cannot give is taken away at once,
since another group waits for it.  A group of which nothing is known is held where it is, because a
broker that can not be asked says nothing about the load.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from taskd.supervisor.scaling.demand import demand
from taskd.supervisor.scaling.load import MachineBudget, ScaledGroup
from taskd.supervisor.scaling.sharing import Claim, share
from taskd.supervisor.scaling.steadying import Steadiness, steady


@dataclass(frozen=True, slots=True)
class SizeDecision:
    """``target`` processes; ``why`` tells in sentences how that came about, the last cause first."""

    target: int
    why: tuple[str, ...]


@dataclass(slots=True)
class FleetScaler:
    """Decides for all groups of a machine together, and remembers what steadiness needs.

    A group shrinks when fewer processes would have done for ``window_s``.
    """

    window_s: float
    _memory: dict[str, Steadiness] = field(default_factory=dict)

    def decide(
        self, groups: Iterable[ScaledGroup], budget: MachineBudget, now: float
    ) -> Mapping[str, SizeDecision]:
        """Return the decision of each group; ``now`` in monotonic seconds.  Call it about once a second."""
        former, self._memory = self._memory, {}
        claims: dict[str, Claim] = {}
        whys: dict[str, tuple[str, ...]] = {}
        for group in groups:
            memory = former.get(group.name, Steadiness())
            claims[group.name], whys[group.name] = self._claim(group, memory, now)
        return {
            name: _decision(claims[name].wanted, given, whys[name])
            for name, given in share(claims, budget).items()
        }

    def _claim(self, group: ScaledGroup, memory: Steadiness, now: float) -> tuple[Claim, tuple[str, ...]]:
        bounds = group.bounds
        load = group.load
        if load is None:
            self._memory[group.name] = memory
            held = min(max(group.present, bounds.least), bounds.most)
            why = "nothing is known of the load: held as it is"
            return Claim(held, held, bounds.weight, leaving=group.leaving), (why,)
        needed = demand(load, bounds, group.present)
        steadied, memory = steady(needed.processes, group.present, memory, now=now, window_s=self.window_s)
        self._memory[group.name] = memory
        wanted = min(max(steadied, bounds.least), bounds.most)
        whys: tuple[str, ...] = (needed.why,)
        if wanted > needed.processes:
            window_s = self.window_s * memory.penalty
            whys = (f"{wanted} stay until fewer have been enough for {window_s:g} s", *whys)
        return Claim(bounds.least, wanted, bounds.weight, load.process_bytes, group.leaving), whys


def _decision(wanted: int, given: int, whys: tuple[str, ...]) -> SizeDecision:
    if given < wanted:
        whys = (f"the machine gives {given} of {wanted}", *whys)
    return SizeDecision(given, whys)
