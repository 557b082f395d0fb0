"""How the programs of one group become those that are wanted, a few at a time.

A pure decider, level-triggered: it looks at the group as it stands and answers with the next step, so
that a new wish may come at any moment, in the middle of a roll too.  Adding, draining, rolling and
returning to a former revision are all this one question.

Limits, of ``count`` programs that are wanted: never more than ``count + max_surge`` have a place, those
that drain included, because they still need memory; and a program that does its work is only told to
leave while ``count - max_unavailable`` others do theirs.  The first new program is a *canary*: until it
has proven itself no other is started, and none leaves unless the canary needs its place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Standing(Enum):
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
    standing: Standing
    is_new: bool


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many programs are wanted, and how far their number may stray while they are replaced.

    At least one of ``max_surge`` and ``max_unavailable`` is not 0.
    """

    count: int
    max_surge: int
    max_unavailable: int


@dataclass(frozen=True, slots=True)
class Step:
    """What to do now: start so many new programs, and let these leave.  Empty: wait for news."""

    start: int = 0
    retire: tuple[str, ...] = ()


def next_step(berths: Sequence[Berth], bounds: Bounds, *, proven: bool) -> Step:
    """Return what to do now.

    ``berths`` stand in the order in which they would be missed least, so that an idle program leaves
    before a busy one.  ``proven`` says that the canary was passed, or that none is needed.
    """
    staying = [berth for berth in berths if berth.standing in _STAYING]
    old = [berth for berth in staying if not berth.is_new]
    new = [berth for berth in staying if berth.is_new]
    leaving = sum(berth.standing is Standing.LEAVING for berth in berths)
    wanted = max(0, bounds.count - sum(berth.standing is Standing.HELD for berth in berths))
    room = wanted + bounds.max_surge - len(staying) - leaving
    is_gated = bool(old) and not proven

    start = max(0, min(room, wanted - len(new)))
    if is_gated:
        start = min(start, 0 if new else 1)
    ready = sum(berth.standing is Standing.READY for berth in staying)
    spare = max(0, ready - max(0, wanted - bounds.max_unavailable))
    retire = _leavers(new, len(new) - wanted, spare)
    spare -= sum(berth.standing is Standing.READY for berth in retire)
    number = len(old)
    if is_gated:
        # As many as are too many anyhow; and one to make room, where a canary can have no other place.
        number = len(staying) - wanted - bounds.max_surge
        if number <= 0 and not new and not start and not leaving:
            number = 1
    retire += _leavers(old, number, spare)
    return Step(start, tuple(berth.name for berth in retire))


def is_settled(berths: Sequence[Berth], bounds: Bounds) -> bool:
    """Whether nothing is left to do: all that are wanted are new and ready.  Some may still drain."""
    held = sum(berth.standing is Standing.HELD for berth in berths)
    staying = [berth for berth in berths if berth.standing in _STAYING]
    return len(staying) == max(0, bounds.count - held) and all(
        berth.is_new and berth.standing is Standing.READY for berth in staying
    )


def is_extra(berths: Sequence[Berth], bounds: Bounds) -> bool:
    """Whether one more that starts now starts beside as many as are wanted: then there is no hurry."""
    return sum(berth.standing is Standing.READY for berth in berths) >= bounds.count


_STAYING = frozenset({Standing.ABSENT, Standing.STARTING, Standing.READY})


def _leavers(candidates: Sequence[Berth], number: int, spare: int) -> list[Berth]:
    """Return up to ``number``: first those that do no work, then at most ``spare`` of those that do."""
    idle = [berth for berth in candidates if berth.standing is not Standing.READY]
    ready = [berth for berth in candidates if berth.standing is Standing.READY]
    return [*idle, *ready[:spare]][: max(0, number)]
