"""The programs of one table of the configuration, and the way from the running to the wanted ones.

``rolling`` decides each step from a picture of the group; here it is carried out.  A wish may change at any
moment, and the group then goes on from where it stands.

A program that joins takes the lowest free slot, and with it a name.  A successor that starts while the one
before it drains needs a name of its own, because the broker takes the claims of a name away from its former
bearer.  See docs/decisions/0011.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from taskd.base import clock
from taskd.base.loop import Owner
from taskd.supervisor.model.machine import ALIVE
from taskd.supervisor.model.plan import RunningProgram, live_changes, roll_changes
from taskd.supervisor.model.rolling import Picture, Size, next_step
from taskd.supervisor.programs.member import Member
from taskd.supervisor.programs.membership import Membership
from taskd.supervisor.programs.probation import Probation, Wish
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.revision import Revision

_AFTER_AN_ERROR_S = 5.0

#: Makes the program in a slot of a group from a revision; it is not started yet.
Make = Callable[[Revision, str, int], Program]


class Group:
    """All programs of one table.  For the loop's thread."""

    def __init__(
        self,
        name: str,
        make: Make,
        wake_at: Callable[[float], None],
        is_spare: Callable[[Program], bool],
    ) -> None:
        """``wake_at`` has ``converge`` called again at a monotonic time.

        ``is_spare`` is asked about each program that the group grows by: one that the load does not need
        stays down, and keeps its place.
        """
        self.name = name
        self.members = Membership()
        #: The owner of errors while the group is brought to its aim.
        self.owner = Owner(f"group {name}", self._fail)
        self._make = make
        self._wake_at = wake_at
        self._is_spare = is_spare
        self._wish = Wish()
        self._probation = Probation(name, self.members)
        #: How many programs it is still to grow by, since its table last changed.
        self._growth = 0

    # -- what others wish --------------------------------------------------------------------

    def aim(self, revision: Revision, size: Size, *, reason: str) -> None:
        """Want ``size.count`` programs of this revision from now on.

        Programs to which the two configurations mean the same become its members where they stand.
        """
        good = self._probation.good
        self._wish = Wish(revision, size, reason)
        if good is not None and good.revision is not None and not self._differs(good.revision, revision):
            self._probation.good = self._wish
        for member in self.members.staying():
            if not self._differs(member.revision, revision):
                live = live_changes(member.revision.config, revision.config, self.name)
                member.move_to(revision, self.name, tell=bool(live))
        self._growth = max(0, size.count - len(self.members.staying()))
        self._begin()

    def retire(self, reason: str) -> None:
        """Want nothing any more: every program leaves."""
        self._probation.good = None
        self._wish = Wish(self._wish.revision, Wish().size, reason)
        self._begin()

    def resize(self, count: int, *, reason: str) -> None:
        """Want ``count`` programs; surplus programs drain, the idle ones first."""
        self._wish = replace(self._wish, size=replace(self.size, count=count), reason=reason)
        self._begin()

    def roll(self, programs: Iterable[Program], *, reason: str) -> None:
        """Replace these programs, one after the other, by ones with the same configuration."""
        chosen = set(programs)
        self._wish = replace(self._wish, reason=reason)
        for member in self.members.staying():
            member.is_stale = member.is_stale or member.program in chosen
        self._begin()

    def _begin(self) -> None:
        self._probation.begin(self.target)
        self._drop_held(len(self.members.staying()) - self.size.count)

    # -- how it stands -----------------------------------------------------------------------

    @property
    def size(self) -> Size:
        """How many programs are wanted."""
        return self._wish.size

    @property
    def target(self) -> Revision | None:
        """The revision that is wanted."""
        return self._wish.revision

    @property
    def trouble(self) -> str:
        """Why the last change did not work out; empty when it did, or may still."""
        return self._probation.trouble

    @property
    def settled(self) -> bool:
        """Whether all that are wanted work; some others may still drain."""
        return self._picture().is_settled

    @property
    def is_rolling(self) -> bool:
        """Whether some that do their work are still to be replaced."""
        return any(not each.fits(self.target) for each in self.members.placed())

    @property
    def extra(self) -> int:
        """How many there are beyond those that are wanted, while they are replaced."""
        placed = len(self.members.placed())
        held = len(self.members.staying()) - placed
        return max(0, placed - max(0, self.size.count - held))

    def running(self) -> Sequence[RunningProgram]:
        """Return the programs that do not leave, the least missed first."""
        return [
            RunningProgram(each.name, self.name, each.slot, each.revision.config, each.is_stale)
            for each in self.members.least_missed()
            if not each.is_retired
        ]

    def revisions(self) -> set[Revision]:
        """Return the revisions that are still needed here."""
        wishes = [self._wish, *([self._probation.good] if self._probation.good is not None else [])]
        return self.members.revisions() | {each.revision for each in wishes if each.revision is not None}

    # -- on the way --------------------------------------------------------------------------

    def converge(self) -> None:
        """Do all that can be done now."""
        self.members.forget_gone()
        held = self.members.held()
        self._refit(held)
        self._drop_held(len(held) - self.size.count)
        self._judge_probation()
        while (step := next_step(picture := self._picture())).start or step.retire:
            for name in step.retire:
                self._retire(next(each for each in self.members.staying() if each.name == name))
            for _ in range(step.start):
                self._start()
        for member in self.members:
            member.tell_news()
        if picture.is_settled:
            self._probation.succeed(self._wish)

    def _picture(self) -> Picture:
        return Picture(self.members.berths(self.target), self.size, self._probation.is_proven)

    def _judge_probation(self) -> None:
        if self.target is None:
            return
        look_at = self._probation.judge(self.target, clock.monotonic())
        if look_at < math.inf:
            self._wake_at(look_at)
        if why := self._probation.failure(self.target):
            self._wish = self._probation.fail(self._wish, why)

    def _fail(self, why: str) -> None:
        """Pay for an error of our own: the programs stay as they are, and it is tried again in a while."""
        self._probation.trouble = why
        self._wake_at(clock.monotonic() + _AFTER_AN_ERROR_S)

    def _drop_held(self, surplus: int) -> None:
        """Forget as many as are too many of those that are down on purpose."""
        if surplus <= 0:
            return
        for member in sorted(self.members.held(), key=lambda each: -each.slot)[:surplus]:
            self._retire(member)

    def _start(self) -> None:
        assert self.target is not None, "nothing is started before something is wanted"
        slot = self.members.free_slot
        program = self._make(self.target, self.name, slot)
        program.gives_way = self._picture().is_full
        self.members.add(Member(program, slot, self.target))
        grows = self._growth > 0
        self._growth = max(0, self._growth - 1)
        if grows and self._is_spare(program):
            return
        if grows:
            program.want_as_configured(self._wish.reason)
        else:
            program.want(wanted=True, reason=self._wish.reason)
        program.reconcile()

    def _retire(self, member: Member) -> None:
        member.is_retired = True
        member.program.want(wanted=False, reason=self._wish.reason)
        member.program.reconcile()
        self.members.forget_gone()

    def _refit(self, held: Iterable[Member]) -> None:
        """Have those that an operator stopped start with what is wanted now, when they start again."""
        for member in held:
            if member.program.state not in ALIVE and not member.fits(self.target) and self.target is not None:
                member.move_to(self.target, self.name, tell=False)
                member.is_stale = False

    def _differs(self, one: Revision, other: Revision) -> bool:
        return one is not other and bool(roll_changes(one.config, other.config, self.name))
