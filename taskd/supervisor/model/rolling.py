"""How the programs of one group become those that are wanted, a few at a time.

A pure decider, level-triggered.  It looks at the group as it stands and answers with the next step.  So a new
wish may come at any moment, in the middle of a roll too.  Adding, draining, rolling and returning to a former
revision are all this one question.

Limits, of ``count`` programs that are wanted: never more than ``count + max_surge`` have a place, those that
drain included, because they still need memory.  A program that does its work is only told to leave while
``count - max_unavailable`` others do theirs.  The first new program is a *canary*: until it has proven itself
no other is started, and none leaves unless the canary needs its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Presence(Enum):
    """How a program of the group stands, from far away."""

    ABSENT = "absent"  # is to run, but has no process at the moment
    STARTING = "starting"  # has a process that does not do its work yet
    READY = "ready"
    LEAVING = "leaving"  # takes nothing new and will be gone for good
    HELD = "held"  # stopped by an operator: it keeps its place and is left alone


@dataclass(frozen=True, slots=True)
class Berth:
    """One program of the group; ``is_new``: it is as it is wanted, not one that is to be replaced."""

    name: str
    presence: Presence
    is_new: bool


@dataclass(frozen=True, slots=True)
class Size:
    """How many programs are wanted, and how far their number may stray while they are replaced.

    At least one of ``max_surge`` and ``max_unavailable`` is not 0.
    """

    count: int
    max_surge: int
    max_unavailable: int


@dataclass(frozen=True, slots=True)
class RollStep:
    """The next act: start ``start`` new programs, and let these leave.  Empty: wait for news."""

    start: int = 0
    retire: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A group at one moment: everything that the next step follows from.

    ``berths`` stand in the order in which they may leave, idle ones first, so that an idle program leaves
    before a busy one.  ``proven`` says that the canary was passed, or that none is needed.
    """

    berths: Sequence[Berth]
    size: Size
    proven: bool = True

    @property
    def is_settled(self) -> bool:
        """Whether nothing is left to do: all that are wanted are new and ready.  Some may still drain."""
        held = sum(berth.presence is Presence.HELD for berth in self.berths)
        staying = [berth for berth in self.berths if berth.presence in _STAYING]
        return len(staying) == max(0, self.size.count - held) and all(
            berth.is_new and berth.presence is Presence.READY for berth in staying
        )

    @property
    def is_full(self) -> bool:
        """Whether as many as are wanted do their work: one more that starts now has no hurry."""
        return sum(berth.presence is Presence.READY for berth in self.berths) >= self.size.count


def next_step(picture: Picture) -> RollStep:
    """Return what to do now."""
    berths = picture.berths
    size = picture.size
    staying = [berth for berth in berths if berth.presence in _STAYING]
    old = [berth for berth in staying if not berth.is_new]
    new = [berth for berth in staying if berth.is_new]
    leaving = sum(berth.presence is Presence.LEAVING for berth in berths)
    wanted = max(0, size.count - sum(berth.presence is Presence.HELD for berth in berths))
    room = wanted + size.max_surge - len(staying) - leaving
    is_gated = bool(old) and not picture.proven

    start = max(0, min(room, wanted - len(new)))
    if is_gated:
        start = min(start, 0 if new else 1)
    ready = sum(berth.presence is Presence.READY for berth in staying)
    spare = max(0, ready - max(0, wanted - size.max_unavailable))
    retire = _leavers(new, len(new) - wanted, spare)
    spare -= sum(berth.presence is Presence.READY for berth in retire)
    number = len(old)
    if is_gated:
        # As many as are too many anyhow; and one to make room, where a canary can have no other place.
        number = len(staying) - wanted - size.max_surge
        if number <= 0 and not new and not start and not leaving:
            number = 1
    retire += _leavers(old, number, spare)
    return RollStep(start, tuple(berth.name for berth in retire))


_STAYING = frozenset({Presence.ABSENT, Presence.STARTING, Presence.READY})


def _leavers(candidates: Sequence[Berth], number: int, spare: int) -> list[Berth]:
    """Return up to ``number``: first those that do no work, then at most ``spare`` of those that do."""
    idle = [berth for berth in candidates if berth.presence is not Presence.READY]
    ready = [berth for berth in candidates if berth.presence is Presence.READY]
    return [*idle, *ready[:spare]][: max(0, number)]
