"""The plan of a reload: what it would do to each program, and why.  Pure; ``taskctl plan`` shows it.

*keep* leaves a program alone, *live* puts changed settings in force without touching its process,
*add* starts one, *drain* lets one finish and leave, *roll* replaces it by one with the new configuration.
The new one is ready before the old one leaves where the group may surge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from taskd.base.plural import counted
from taskd.config.diff import Change, diff
from taskd.config.option import Applies
from taskd.config.schema import Config
from taskd.supervisor.model.roster import groups, program_name, share_of


class Action(Enum):
    """The fate of one program in a reload."""

    KEEP = "keep"
    LIVE = "live"
    ADD = "add"
    DRAIN = "drain"
    ROLL = "roll"


@dataclass(frozen=True, slots=True)
class RunningProgram:
    """A program that is not leaving; ``config`` is the one that it was made from.

    ``is_stale``: it is to be replaced anyhow, because a rolling restart is under way.
    """

    name: str
    group: str
    slot: int
    config: Config
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class Fate:
    """The fate of one program, with its reasons."""

    program: str
    group: str
    action: Action
    why: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReloadPlan:
    """Everything that a reload would do; ``needs_restart`` are changes that it cannot bring into force."""

    decisions: tuple[Fate, ...]
    changes: tuple[Change, ...]

    @property
    def needs_restart(self) -> tuple[Change, ...]:
        """The changes that only a restart of taskd brings into force."""
        return tuple(change for change in self.changes if change.applies is Applies.RESTART)

    def concerned(self) -> frozenset[str]:
        """Return the groups in which programs come, go or are replaced."""
        return frozenset(each.group for each in self.decisions if each.action not in _QUIET)


_QUIET = frozenset({Action.KEEP, Action.LIVE})


def plan(running: Sequence[RunningProgram], present: Config, new: Config) -> ReloadPlan:
    """Return what it takes to bring ``running`` to the new configuration.

    ``running`` stand, within each group, in the order in which they may leave, idle ones first; ``present``
    is the configuration that was loaded last.
    """
    wanted = groups(new)
    decisions: list[Fate] = []
    for group in dict.fromkeys([*wanted, *(each.group for each in running)]):
        members = [each for each in running if each.group == group]
        if group not in wanted:
            why = (f"{_table(present, group)} is gone from the file",)
            decisions += [Fate(each.name, group, Action.DRAIN, why) for each in members]
            continue
        decisions += _in_group(group, members, wanted[group].count, new)
    return ReloadPlan(tuple(decisions), diff(present, new))


def roll_changes(old: Config, new: Config, group: str) -> tuple[Change, ...]:
    """Return the changes for which the programs of a group must be replaced."""
    return tuple(each for each in _share_changes(old, new, group) if each.applies is Applies.ROLL)


def live_changes(old: Config, new: Config, group: str) -> tuple[Change, ...]:
    """Return the changes that a process of a worker, or beat, takes over while it goes on."""
    changes = () if group in new.programs else _share_changes(old, new, group)
    return tuple(each for each in changes if each.applies is Applies.LIVE)


def _in_group(group: str, members: Sequence[RunningProgram], count: int, new: Config) -> list[Fate]:
    surplus = {each.name for each in members[: max(0, len(members) - count)]}
    number = f"{len(members)} -> {counted(count, 'process', 'processes')}"
    decisions = [
        Fate(each.name, group, Action.DRAIN, (number,)) if each.name in surplus else _judge(each, new)
        for each in sorted(members, key=lambda each: each.slot)
    ]
    taken = {each.slot for each in members}
    free = [slot for slot in range(1, count + len(taken) + 1) if slot not in taken]
    why = number if members else f"{_table(new, group)} is new"
    missing = free[: max(0, count - len(members))]
    return decisions + [Fate(program_name(group, slot), group, Action.ADD, (why,)) for slot in missing]


def _judge(member: RunningProgram, new: Config) -> Fate:
    changes = _share_changes(member.config, new, member.group)
    rolls = tuple(str(each) for each in changes if each.applies is Applies.ROLL)
    if member.is_stale:
        rolls = (*rolls, "a rolling restart is under way")
    if rolls:
        return Fate(member.name, member.group, Action.ROLL, rolls)
    lives = tuple(str(each) for each in changes if each.applies is Applies.LIVE)
    return Fate(member.name, member.group, Action.LIVE if lives else Action.KEEP, lives)


def _share_changes(old: Config, new: Config, group: str) -> tuple[Change, ...]:
    changes = diff(share_of(old, group), share_of(new, group))
    # How many there are concerns who comes and goes, not who stays.
    return tuple(each for each in changes if each.path != ("worker", group, "processes"))


def _table(config: Config, group: str) -> str:
    if group in config.workers:
        return f"[worker.{group}]"
    return f"[program.{group}]" if group in config.programs else f"[{group}]"
