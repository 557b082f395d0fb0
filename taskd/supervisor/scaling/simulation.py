"""Replay a recorded load against the autoscaler, second by second, without any process.  Pure.

A fluid model: each slot serves ``1 / service_s`` tasks a second, a new process takes ``start_s`` until it
serves, and who leaves serves on until the end of its second.  It answers what the bounds in a file would have
done with a day's load, not how long one task took.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from taskd.supervisor.scaling.autoscaler import FleetScaler
from taskd.supervisor.scaling.load import GroupLimits, Load, MachineBudget, ScaledGroup
from taskd.supervisor.scaling.metering import SMOOTHING


@dataclass(frozen=True, slots=True)
class Arrivals:
    """Tasks of one group that arrived within one second of the recording."""

    second: int
    group: str
    tasks: float
    service_s: float


@dataclass(frozen=True, slots=True)
class SimulatedSecond:
    """One group at the end of one second: its processes, what waits, the expected wait, and why."""

    second: int
    group: str
    processes: int
    ready: float
    wait_s: float
    why: str


@dataclass(slots=True)
class _Simulated:
    bounds: GroupLimits
    processes: int
    ready: float = 0.0
    busy: float = 0.0
    rate: float = 0.0
    service_s: float = 0.0
    starting: list[int] = field(default_factory=list)  # the seconds at which new ones begin to serve


def simulate(
    bounds: Mapping[str, GroupLimits],
    load: Iterable[Arrivals],
    *,
    budget: MachineBudget,
    seconds: int,
    start_s: int = 1,
    window_s: float = 60.0,
) -> Iterator[SimulatedSecond]:
    """Yield a row for each second and group.  Groups without bounds in the configuration are ignored."""
    autoscaler = FleetScaler(window_s)
    groups = {name: _Simulated(each, each.least) for name, each in bounds.items()}
    by_second: dict[int, list[Arrivals]] = {}
    for arrivals in load:
        by_second.setdefault(arrivals.second, []).append(arrivals)
    for second in range(seconds):
        for group in groups.values():
            group.rate *= 1.0 - SMOOTHING
        for arrivals in by_second.get(second, ()):
            if arrivals.group in groups:
                _arrive(groups[arrivals.group], arrivals)
        for group in groups.values():
            _serve(group, second)
        decisions = autoscaler.decide(
            [_shown(name, group) for name, group in groups.items()], budget, float(second)
        )
        for name, group in groups.items():
            _resize(group, decisions[name].target, second + start_s)
            yield SimulatedSecond(
                second, name, group.processes, group.ready, _wait_s(group), decisions[name].why[0]
            )


def _arrive(group: _Simulated, arrivals: Arrivals) -> None:
    group.ready += arrivals.tasks
    group.rate += SMOOTHING * arrivals.tasks
    group.service_s = arrivals.service_s


def _serve(group: _Simulated, second: int) -> None:
    group.starting = [each for each in group.starting if each > second]
    slots = (group.processes - len(group.starting)) * group.bounds.slots
    if not group.service_s:
        return
    served = min(group.ready, slots / group.service_s)
    group.ready -= served
    group.busy = served * group.service_s


def _shown(name: str, group: _Simulated) -> ScaledGroup:
    load = Load(round(group.ready), round(group.busy), group.service_s, group.rate)
    return ScaledGroup(name, group.bounds, load, group.processes)


def _resize(group: _Simulated, target: int, serves_from: int) -> None:
    group.starting += [serves_from] * (target - group.processes)
    del group.starting[target:]
    group.processes = target


def _wait_s(group: _Simulated) -> float:
    slots = (group.processes - len(group.starting)) * group.bounds.slots
    return group.ready * group.service_s / slots if slots else float("inf") if group.ready else 0.0
