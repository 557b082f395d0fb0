"""Carries out the autoscaler's decisions: the one module of this room that acts.

A process leaves in two steps.  It first rests: it takes nothing new and finishes what it has, however
long that takes, and can be called back at any moment.  Only when it has nothing left is it no longer
wanted, and ends at once.  So no task is ever cut short by scaling, and a load that returns finds the
process still there.

It leaves programs alone that the operator stopped: it starts only those that it has stopped itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from taskd.base import clock
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.config.programs import WorkerConfig, slots
from taskd.config.schema import Config
from taskd.protocol.status import Heartbeat
from taskd.supervisor.model.machine import State
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.programs.program import Program
from taskd.supervisor.scaling.autoscaler import FleetScaler, SizeDecision
from taskd.supervisor.scaling.choice import Candidate, to_leave, to_return
from taskd.supervisor.scaling.load import GroupLimits, Load, MachineBudget, ScaledGroup
from taskd.supervisor.scaling.metering import Meter, Sample
from taskd.supervisor.scaling.recording import Recording

_log = logging.getLogger(__name__)

#: The least time between two decisions; heartbeats of busy workers come once a second each.
DECIDE_EVERY_S = 1.0
_AFTER_AN_ERROR_S = 30.0
_UNNEEDED = "not needed by the load"


@dataclass(slots=True)
class _Group:
    """The memory of one scaled group."""

    bounds: GroupLimits
    meter: Meter = field(default_factory=Meter)
    seen: ScaledGroup | None = None
    decision: SizeDecision | None = None


class Scaler:
    """Keeps each scaled group as large as its load asks.  For the loop's thread; never blocks.

    It decides when it hears from a worker, so a machine without load costs nothing.
    """

    def __init__(self, loop: Loop, fleet: Fleet, changed: Callable[[], None]) -> None:
        self._loop = loop
        self._fleet = fleet
        self._changed = changed
        self._autoscaler = FleetScaler(window_s=0.0)
        self.recording = Recording()
        self._budget = MachineBudget()
        self._groups: dict[str, _Group] = {}
        self._timer: LoopTimer | None = None

    def apply(self, config: Config) -> None:
        """Take the bounds of a configuration; groups that are scaled already keep what they have learnt."""
        self._budget = MachineBudget(config.supervisor.max_processes, config.supervisor.max_memory)
        self._autoscaler.window_s = config.supervisor.scale_down_after
        former, self._groups = self._groups, {}
        for name, worker in config.workers.items():
            if worker.min_processes:
                group = former.get(name) or _Group(bounds_of(worker))
                group.bounds = bounds_of(worker)
                self._groups[name] = group
        for name in set(former) - set(self._groups):
            self._wake(name, len(self._fleet), "no longer scaled by load")
        self.hear()  # an idle worker would say something in a quarter of a minute

    def wants(self, program: Program) -> bool:
        """Return whether a new program is wanted from the start, to give its group the least number."""
        group = self._groups.get(program.spec.group)
        if group is None or len(self._present(program.spec.group)) < group.bounds.least:
            return True
        program.want(wanted=False, reason=_UNNEEDED, spare=True)
        return False

    def follows_load(self, name: str) -> bool:
        """Answer whether the number of a group's programs is decided here."""
        return name in self._groups

    def hear(self) -> None:
        """Note that some program has said something: decide soon."""
        if self._groups and self._timer is None:
            self._decide_in(DECIDE_EVERY_S)

    def _decide_in(self, delay_s: float) -> None:
        # After an error each group stays as large as it is for a while.
        owner = Owner("scaling by load", lambda _why: self._decide_in(_AFTER_AN_ERROR_S))
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_later(delay_s, self._decide, owner)

    def explain(self) -> Mapping[str, object]:
        """Return for each scaled group what it has, what was measured and why it is as it is."""
        return {
            name: {
                "processes": self._size(name),
                "leaving": len(self._resting(name)),
                **_explained(group),
            }
            for name, group in self._groups.items()
        }

    # -- deciding ----------------------------------------------------------------------------

    def _decide(self) -> None:
        self._timer = None
        now = clock.monotonic()
        for name, group in self._groups.items():
            self._let_go(name)
            group.seen = self._look(name, group, now)
            if group.seen.load is not None:
                self.recording.note(now, name, group.seen.load)
        seen = [group.seen for group in self._groups.values() if group.seen is not None]
        for name, decision in self._autoscaler.decide(seen, self._budget, now).items():
            group = self._groups[name]
            group.decision = decision
            self._resize(name, decision)

    def _look(self, name: str, group: _Group, now: float) -> ScaledGroup:
        samples = [
            Sample(life.process.pid, life.heard, life.load)
            for program in self._members(name)
            if (life := program.life) is not None and program.state is State.READY and life.load.pids
        ]
        load = group.meter.read(samples, now)
        return ScaledGroup(name, group.bounds, load, self._size(name), len(self._resting(name)))

    def _resize(self, name: str, decision: SizeDecision) -> None:
        missing = decision.target - self._size(name)
        why = decision.why[0]
        if missing > 0:
            resting = self._resting(name)
            back = to_return(_candidates(resting), missing)
            for each in back:
                resting[each.number].set_quiet(quiet=False, reason=f"called back: {why}")
            self._wake(name, missing - len(back), f"scaled up: {why}")
        elif missing < 0 and not self._is_rolling(name):
            present = self._present(name)
            for each in to_leave(_candidates(present), -missing):
                present[each.number].set_quiet(quiet=True, reason=f"scaled down: {why}")
            self._let_go(name)

    def _wake(self, name: str, count: int, reason: str) -> None:
        """Start up to ``count`` of the spare programs, the first ones first."""
        for program in [each for each in self._members(name) if each.spare][:count]:
            _log.info("program=%s %s", program.spec.name, reason)
            program.want(wanted=True, reason=reason)
            self._changed()

    def _let_go(self, name: str) -> None:
        """End those that rest and have nothing left to do, or can not do anything now."""
        for program in self._resting(name):
            life = program.life
            if life is not None and program.state is State.READY and not _has_finished(life.load):
                continue
            program.want(wanted=False, reason=_UNNEEDED, spare=True)
            self._changed()

    # -- who is who --------------------------------------------------------------------------

    def _members(self, name: str) -> Iterator[Program]:
        return (program for program in self._fleet if program.spec.group == name)

    def _present(self, name: str) -> Sequence[Program]:
        """Return the wanted processes of a group that take messages, or will."""
        return [each for each in self._members(name) if each.wanted and not _rests(each)]

    def _size(self, name: str) -> int:
        """Return how many processes a group has, without those that are there only to replace others."""
        group = self._fleet.group(name)
        return len(self._present(name)) - (group.extra if group else 0)

    def _is_rolling(self, name: str) -> bool:
        """Answer whether a group is being replaced: the successor that is there already has no work yet."""
        group = self._fleet.group(name)
        return group is not None and group.is_rolling

    def _resting(self, name: str) -> Sequence[Program]:
        return [each for each in self._members(name) if each.wanted and _rests(each)]


def bounds_of(worker: WorkerConfig) -> GroupLimits:
    """Return what the configuration allows the group."""
    return GroupLimits(
        worker.min_processes, worker.processes, worker.target_latency, worker.weight, slots(worker)
    )


def _has_finished(load: Heartbeat) -> bool:
    # Only a report that was made in quiet can say so: one from before may have been followed by a claim.
    return load.quiet and load.busy + load.reserved == 0


def _rests(program: Program) -> bool:
    return program.life is not None and program.life.quiet


def _candidates(programs: Sequence[Program]) -> list[Candidate]:
    return [_candidate(number, program) for number, program in enumerate(programs)]


def _candidate(number: int, program: Program) -> Candidate:
    load = program.life.load if program.life else None
    return Candidate(number, load.busy + load.reserved, load.oldest_s) if load else Candidate(number, 0, 0.0)


def _explained(group: _Group) -> Mapping[str, object]:
    seen = group.seen
    decision = group.decision
    load: Load | None = seen.load if seen else None
    return {
        "target": decision.target if decision else None,
        "least": group.bounds.least,
        "most": group.bounds.most,
        "target_latency_s": group.bounds.latency_s,
        "ready": load.ready if load else None,
        "busy": load.busy if load else None,
        "service_s": load.service_s if load else None,
        "arrivals_per_s": load.arrivals_per_s if load else None,
        "why": list(decision.why) if decision else ["no worker of this group has said anything yet"],
    }
