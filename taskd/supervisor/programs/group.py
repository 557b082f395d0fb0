"""The programs of one table of the configuration, and the way from what runs to what is wanted.

``rolling`` decides each step; here it is carried out.  What is wanted is one *target* revision and a
number; it may change at any moment, and the group then goes on from where it stands.

A program that joins takes the lowest free slot, and with it a name: a successor that starts while the
one before it drains needs a name of its own, because the broker takes the claims of a name away from
whoever had it before.  See docs/decisions/0011.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Sequence

from taskd.base import clock
from taskd.base.loop import Owner
from taskd.base.plural import counted
from taskd.supervisor.model.machine import ALIVE, State
from taskd.supervisor.model.plan import Running, live_changes, roll_changes
from taskd.supervisor.model.rolling import Berth, Bounds, Standing, is_extra, is_settled, next_step
from taskd.supervisor.programs.member import Member
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.revision import Revision

_log = logging.getLogger(__name__)

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
        self.members: list[Member] = []
        self.bounds = Bounds(0, 0, 1)
        self.target: Revision | None = None
        #: Why the last change did not work out; empty when it did, or may still.
        self.trouble = ""
        #: What pays for what fails while the group is brought to what is wanted.
        self.owner = Owner(f"group {name}", self._fail)
        self._make = make
        self._wake_at = wake_at
        self._is_spare = is_spare
        self._growth = 0
        self._good: Revision | None = None
        self._good_bounds = self.bounds
        self._proven = True
        self._has_gone_back = False
        self._reason = ""

    # -- what others ask of it ---------------------------------------------------------------

    def aim(self, revision: Revision, bounds: Bounds, *, reason: str) -> None:
        """Want ``bounds.count`` programs of this revision from now on.

        Programs to which the two configurations mean the same become its members where they stand.
        """
        if self._good is not None and not self._differs(self._good, revision):
            self._good, self._good_bounds = revision, bounds
        self.target, self.bounds, self._reason = revision, bounds, reason
        for member in self._staying():
            if not self._differs(member.revision, revision):
                live = live_changes(member.revision.config, revision.config, self.name)
                member.move_to(revision, self.name, tell=bool(live))
        self._growth = max(0, bounds.count - len(self._staying()))
        self._begin()

    def dissolve(self, reason: str) -> None:
        """Want nothing any more: every program leaves."""
        self.bounds, self._good, self._reason = Bounds(0, 0, 1), None, reason
        self._begin()

    def resize(self, count: int, *, reason: str) -> None:
        """Want so many programs; those that are too many drain, the idle ones first."""
        self.bounds = Bounds(count, self.bounds.max_surge, self.bounds.max_unavailable)
        self._reason = reason
        self._begin()

    def renew(self, programs: Iterable[Program], *, reason: str) -> None:
        """Replace these programs, one after the other, by ones with the same configuration."""
        chosen = set(programs)
        self._reason = reason
        for member in self._staying():
            member.is_stale = member.is_stale or member.program in chosen
        self._begin()

    @property
    def settled(self) -> bool:
        """Whether all that are wanted work; some others may still drain."""
        return is_settled(self._berths(), self.bounds)

    @property
    def is_rolling(self) -> bool:
        """Whether some that do their work are still to be replaced."""
        return any(not self._is_new(each) for each in self._placed())

    @property
    def extra(self) -> int:
        """How many there are beyond those that are wanted, while they are replaced."""
        held = len(self._staying()) - len(self._placed())
        return max(0, len(self._placed()) - max(0, self.bounds.count - held))

    def running(self) -> Sequence[Running]:
        """Return the programs that do not leave, the least missed first."""
        return [
            Running(each.program.spec.name, self.name, each.slot, each.revision.config, each.is_stale)
            for each in self._least_missed()
            if not each.is_retired
        ]

    def revisions(self) -> set[Revision]:
        """Return the revisions that are still needed here."""
        needed = {each for member in self.members for each in member.revisions()}
        return needed | {each for each in (self.target, self._good) if each is not None}

    # -- on the way --------------------------------------------------------------------------

    def converge(self) -> None:
        """Do all that can be done now."""
        self._forget_the_gone()
        held = [member for member in self.members if member.standing is Standing.HELD]
        self._replace(held)
        self._drop_held(len(held) - self.bounds.count)
        self._judge_trial()
        while True:
            berths = self._berths()
            step = next_step(berths, self.bounds, proven=self._proven)
            if not (step.start or step.retire):
                break
            for name in step.retire:
                self._retire(next(each for each in self._staying() if each.program.spec.name == name))
            for _ in range(step.start):
                self._start()
        for member in self.members:
            member.pass_on()
        if is_settled(berths, self.bounds):
            self._settle()

    def _fail(self, why: str) -> None:
        """Pay for an error of our own: the programs stay as they are, and it is tried again in a while."""
        self.trouble = why
        self._wake_at(clock.monotonic() + _AFTER_AN_ERROR_S)

    def _begin(self) -> None:
        self.trouble = ""
        self._has_gone_back = False
        staying = self._staying()
        for member in staying:
            member.is_on_trial = member.program.state is not State.READY
            member.program.failures = 0
        # No canary where nothing is replaced, or where such programs work already.
        works = any(self._is_new(member) and not member.is_on_trial for member in staying)
        self._proven = works or all(self._is_new(member) for member in staying)
        self._drop_held(len(self._staying()) - self.bounds.count)

    def _drop_held(self, surplus: int) -> None:
        """Forget as many as are too many of those that are down on purpose."""
        if surplus <= 0:
            return
        down = [each for each in self._staying() if each.standing is Standing.HELD]
        for member in sorted(down, key=lambda each: -each.slot)[:surplus]:
            self._retire(member)

    def _settle(self) -> None:
        if self.target is not None and self.bounds.count:
            self._good, self._good_bounds = self.target, self.bounds
        if not self._has_gone_back:
            self.trouble = ""
        for member in self._staying():
            member.is_on_trial = False

    def _start(self) -> None:
        assert self.target is not None, "nothing is started before something is wanted"
        taken = {member.slot for member in self.members}
        slot = next(number for number in range(1, len(taken) + 2) if number not in taken)
        program = self._make(self.target, self.name, slot)
        program.gives_way = is_extra(self._berths(), self.bounds)
        self.members.append(Member(program, slot, self.target))
        grows, self._growth = self._growth > 0, max(0, self._growth - 1)
        if grows and self._is_spare(program):
            return
        if grows:
            program.want_as_configured(self._reason)
        else:
            program.want(wanted=True, reason=self._reason)
        program.reconcile()

    def _retire(self, member: Member) -> None:
        member.is_retired = True
        member.program.want(wanted=False, reason=self._reason)
        member.program.reconcile()
        self._forget_the_gone()

    def _forget_the_gone(self) -> None:
        for member in self.members:
            if member.is_retired and member.program.state not in ALIVE:
                member.program.close()
        self.members = [each for each in self.members if not each.is_retired or each.program.state in ALIVE]

    def _replace(self, held: Iterable[Member]) -> None:
        """What an operator stopped stays stopped, but would start with what is wanted now."""
        for member in held:
            if member.program.state not in ALIVE and not self._is_new(member) and self.target is not None:
                member.move_to(self.target, self.name, tell=False)
                member.is_stale = False

    # -- trial -------------------------------------------------------------------------------

    def _judge_trial(self) -> None:
        """Pass the canary when it has worked long enough; go back when the new ones keep dying."""
        trial = [each for each in self._staying() if each.is_on_trial and self._is_new(each)]
        if self.target is None or not trial:
            return
        settings = self.target.config.supervisor
        if not self._proven:
            passes_at = min((self._passes_at(each, settings.canary_time) for each in trial), default=math.inf)
            self._proven = passes_at <= clock.monotonic()
            if not self._proven and passes_at < math.inf:
                self._wake_at(passes_at)
        deaths = sum(each.program.failures for each in trial)
        if deaths >= settings.roll_attempts and not self.trouble:
            worst = max(trial, key=lambda each: each.program.failures).program
            self._give_up(f"{worst.spec.name} died {counted(deaths, 'time')}: {worst.detail or worst.reason}")

    def _passes_at(self, member: Member, canary_s: float) -> float:
        life = member.program.life
        since = life.ready_since if life else None
        return math.inf if since is None or member.standing is not Standing.READY else since + canary_s

    def _give_up(self, why: str) -> None:
        good = self._good
        has_old = any(not self._is_new(member) for member in self._staying())
        self.trouble = why
        if good is not None and good is not self.target:
            has_old = True
            self.target, self.bounds = good, self._good_bounds
            self._reason = f"back to revision {good.number}: {why}"
            _log.error("group=%s goes back to revision %s: %s", self.name, good.number, why)
        elif has_old:
            self._reason = f"the rolling restart was given up: {why}"
            _log.error("group=%s the rolling restart is given up, the old programs stay: %s", self.name, why)
        else:
            # Of several lines the others are a traceback, which its program has written.
            _log.error("group=%s does not start, taskd goes on trying: %s", self.name, why.partition("\n")[0])
        for member in self._staying():
            member.is_stale = False
        self._has_gone_back = has_old
        self._proven = True

    # -- looking -----------------------------------------------------------------------------

    def _berths(self) -> list[Berth]:
        return [
            Berth(each.program.spec.name, each.standing, self._is_new(each)) for each in self._least_missed()
        ]

    def _least_missed(self) -> list[Member]:
        return sorted(self.members, key=lambda each: (each.load, -each.slot))

    def _staying(self) -> list[Member]:
        return [member for member in self.members if not member.is_retired]

    def _placed(self) -> list[Member]:
        """Return those that stay and are not down on purpose."""
        return [each for each in self._staying() if each.standing is not Standing.HELD]

    def _is_new(self, member: Member) -> bool:
        return member.revision is self.target and not member.is_stale

    def _differs(self, one: Revision, other: Revision) -> bool:
        return one is not other and bool(roll_changes(one.config, other.config, self.name))
