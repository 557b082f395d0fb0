"""The programs of one group: who stays, who leaves, which one may leave first, and which slot is free."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from taskd.supervisor.model.machine import ALIVE
from taskd.supervisor.model.rolling import Berth, Presence
from taskd.supervisor.programs.member import Member
from taskd.supervisor.programs.revision import Revision


class Membership:
    """Members with a place in the group, draining ones included.  A slot, and so a name, is taken once."""

    def __init__(self) -> None:
        self._all: list[Member] = []

    def __iter__(self) -> Iterator[Member]:
        return iter(list(self._all))

    def __len__(self) -> int:
        return len(self._all)

    def add(self, member: Member) -> None:
        """Give a new program its place."""
        self._all.append(member)

    def forget_gone(self) -> None:
        """Forget those that have left for good and whose process is gone."""
        for member in self:
            if member.is_retired and member.program.state not in ALIVE:
                member.program.close()
                self._all.remove(member)

    @property
    def free_slot(self) -> int:
        """The lowest slot that nobody has."""
        taken = {member.slot for member in self._all}
        return next(number for number in range(1, len(taken) + 2) if number not in taken)

    def staying(self) -> Sequence[Member]:
        """Return those that do not leave."""
        return [member for member in self._all if not member.is_retired]

    def held(self) -> Sequence[Member]:
        """Return those that stay and are down on purpose."""
        return [member for member in self._all if member.presence is Presence.HELD]

    def placed(self) -> Sequence[Member]:
        """Return those that stay and are not down on purpose."""
        return [member for member in self.staying() if member.presence is not Presence.HELD]

    def by_slot(self) -> Sequence[Member]:
        """Return all, the lowest slot first."""
        return sorted(self._all, key=lambda member: member.slot)

    def least_missed(self) -> Sequence[Member]:
        """Return all, the least busy first, and of equal ones the highest slot."""
        return sorted(self._all, key=lambda member: (member.load, -member.slot))

    def berths(self, target: Revision | None) -> Sequence[Berth]:
        """Return how each is present where ``target`` is wanted, in the order of ``least_missed``."""
        return [Berth(each.name, each.presence, each.fits(target)) for each in self.least_missed()]

    def revisions(self) -> set[Revision]:
        """Return the revisions that are still needed for some program."""
        return {revision for member in self._all for revision in member.revisions()}
