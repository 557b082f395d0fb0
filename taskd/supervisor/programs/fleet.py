"""All programs of the daemon, in their groups: found, counted, and brought to what is wanted."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

from taskd.base import clock
from taskd.base.errors import ControlError
from taskd.base.loop import Callback, Owner
from taskd.supervisor.model.machine import ALIVE, State
from taskd.supervisor.model.plan import RunningProgram
from taskd.supervisor.model.roster import groups
from taskd.supervisor.model.rows import ProgramRow
from taskd.supervisor.model.waiting import Standing, needed, waits_for
from taskd.supervisor.programs.group import Group, Make
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.revision import Revision


class Fleet:
    """All programs, by group in the order of the file, by slot within a group.  For the loop's thread."""

    def __init__(
        self,
        make: Make,
        wake_at: Callable[[float], None],
        is_spare: Callable[[Program], bool],
        attempt: Callable[[Callback, Owner], bool],
    ) -> None:
        """``wake_at`` has ``converge`` called again at a monotonic time; for the rest see ``Group``.

        ``attempt`` is that of the loop: an error of our own in one group costs no other.
        """
        self._attempt = attempt
        self._make = make
        self._wake_at = wake_at
        self._is_spare = is_spare
        self._groups: dict[str, Group] = {}

    def __iter__(self) -> Iterator[Program]:
        return iter([member.program for group in self.groups() for member in group.members.by_slot()])

    def __len__(self) -> int:
        return sum(len(group.members) for group in self.groups())

    def groups(self) -> Sequence[Group]:
        """Return the groups, those included that are about to vanish."""
        return list(self._groups.values())

    def group(self, name: str) -> Group | None:
        """Return a group, if there is one of this name."""
        return self._groups.get(name)

    # -- what is wanted ----------------------------------------------------------------------

    def aim(self, revision: Revision, *, reason: str) -> None:
        """Want what this revision says from now on; ``converge`` brings it about."""
        wanted = groups(revision.config)
        for name, size in wanted.items():
            group = self._groups.setdefault(name, Group(name, self._make, self._wake_at, self._is_spare))
            group.aim(revision, size, reason=reason)
        for name, group in self._groups.items():
            if name not in wanted:
                group.retire(reason)
        self._groups = {name: self._groups[name] for name in [*wanted, *(set(self._groups) - set(wanted))]}

    def roll(self, programs: Sequence[Program], *, reason: str) -> None:
        """Replace these programs, one after the other in each group, by ones like them."""
        for group in self.groups():
            chosen = [program for program in programs if program.spec.group == group.name]
            if chosen:
                group.roll(chosen, reason=reason)

    def converge(self) -> None:
        """Do all that can be done now to bring what is nearer to what is wanted."""
        for group in self.groups():
            self._attempt(group.converge, group.owner)
            if not group.members and not group.size.count:
                del self._groups[group.name]

    def revisions(self) -> set[Revision]:
        """Return the revisions that are still needed."""
        return {revision for group in self.groups() for revision in group.revisions()}

    # -- looking -----------------------------------------------------------------------------

    def named(self, name: object) -> Sequence[Program]:
        """Return what ``name`` means: a program (``mail-1``), or a group (``mail``: all of its programs).

        Raises: ``ControlError`` when it means none; the message lists what there is.
        """
        staying = [each for group in self.groups() for each in group.members.by_slot() if not each.is_retired]
        specs = [each.program.spec for each in staying]
        chosen = [
            each.program for each in staying if name in (each.program.spec.name, each.program.spec.group)
        ]
        if not chosen:
            known = ", ".join(spec.name for spec in specs) or "none"
            leaving = any(program.spec.name == name for program in self)
            why = f"{name} is leaving" if leaving else f"there is no program {name!r}"
            raise ControlError(f"{why}; there are: {known}")
        return chosen

    def running(self) -> Sequence[RunningProgram]:
        """Return the programs that do not leave, the least missed of each group first."""
        return [running for group in self.groups() for running in group.running()]

    def standings(self) -> Sequence[Standing]:
        """Return how each program stands to those that wait for it."""
        return [program.standing() for program in self]

    def blocker(self, program: Program) -> str:
        """Return in words for which others a program waits before it starts; empty for none."""
        return waits_for(program.spec.process, self._standings_in, clock.monotonic())

    def _standings_in(self, name: str) -> Sequence[Standing]:
        group = self._groups.get(name)
        if group is None:
            return []
        staying = [each.program.standing() for each in group.members.by_slot() if not each.is_retired]
        if len(staying) < group.size.count:  # at the start a group later in the file is still empty
            staying.append(Standing(name, State.DOWN, wanted=True, give_up_at=math.inf))
        return staying

    def needed(self) -> frozenset[str]:
        """Return the groups that are stopped later, because living programs were started after them."""
        return needed(program.spec.process for program in self.alive())

    def wanted(self) -> Sequence[Program]:
        """Return the programs that are to run."""
        return [program for program in self if program.wanted]

    def ready(self) -> Sequence[Program]:
        """Return the programs that are to run and do their work."""
        return [program for program in self.wanted() if program.state is State.READY]

    def alive(self) -> Sequence[Program]:
        """Return the programs that have a process."""
        return [program for program in self if program.state in ALIVE]

    def rows(self) -> Sequence[ProgramRow]:
        """Return the rows of ``taskctl status``."""
        return [program.row() for program in self]
