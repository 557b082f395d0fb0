"""Programs of a group are replaced within the limits, canary first, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from taskd.supervisor.model import rolling
from taskd.supervisor.model.rolling import Berth, Picture, Presence, RollStep, Size

ONE_MORE = Size(count=2, max_surge=1, max_unavailable=0)
IN_PLACE = Size(count=2, max_surge=0, max_unavailable=1)


def next_step(berths: Sequence[Berth], size: Size, *, proven: bool) -> RollStep:
    return rolling.next_step(Picture(berths, size, proven))


def is_settled(berths: Sequence[Berth], size: Size) -> bool:
    return Picture(berths, size).is_settled


def is_full(berths: Sequence[Berth], size: Size) -> bool:
    return Picture(berths, size).is_full


def old(name: str, presence: Presence = Presence.READY) -> Berth:
    return Berth(name, presence, is_new=False)


def new(name: str, presence: Presence = Presence.READY) -> Berth:
    return Berth(name, presence, is_new=True)


def test_an_empty_group_starts_all_at_once() -> None:
    assert next_step([], ONE_MORE, proven=False) == RollStep(start=2)
    assert next_step([], replace(ONE_MORE, count=5), proven=False).start == 5


def test_a_group_that_is_as_wanted_is_left_alone() -> None:
    berths = [new("a-1"), new("a-2")]

    assert next_step(berths, ONE_MORE, proven=True) == RollStep()
    assert is_settled(berths, ONE_MORE)


def test_the_canary_comes_first_and_nobody_leaves_for_it() -> None:
    assert next_step([old("a-1"), old("a-2")], replace(ONE_MORE, max_surge=5), proven=False) == RollStep(
        start=1
    )
    waiting = [old("a-1"), old("a-2"), new("a-3", Presence.STARTING)]
    assert next_step(waiting, ONE_MORE, proven=False) == RollStep()


def test_a_ready_canary_that_is_not_proven_yet_changes_nothing() -> None:
    assert next_step([old("a-1"), old("a-2"), new("a-3")], ONE_MORE, proven=False) == RollStep()


def test_after_the_canary_an_old_one_leaves_for_each_new_one_that_is_ready() -> None:
    assert next_step([old("a-1"), old("a-2"), new("a-3")], ONE_MORE, proven=True) == RollStep(retire=("a-1",))
    drained = [old("a-2"), new("a-3")]
    assert next_step(drained, ONE_MORE, proven=True) == RollStep(start=1)


def test_one_more_is_full_while_as_many_as_are_wanted_are_ready() -> None:
    assert is_full([old("a-1"), old("a-2")], ONE_MORE)
    assert not is_full([old("a-1"), old("a-2", Presence.LEAVING)], ONE_MORE)
    assert not is_full([old("a-1"), new("a-2", Presence.STARTING)], ONE_MORE)
    assert not is_full([], ONE_MORE)


def test_one_that_drains_keeps_its_place() -> None:
    berths = [old("a-1", Presence.LEAVING), old("a-2"), new("a-3")]

    assert next_step(berths, ONE_MORE, proven=True) == RollStep()


def test_without_surge_one_leaves_before_its_successor_starts() -> None:
    assert next_step([old("a-1"), old("a-2")], IN_PLACE, proven=False) == RollStep(retire=("a-1",))
    assert next_step([old("a-1", Presence.LEAVING), old("a-2")], IN_PLACE, proven=False) == RollStep()
    assert next_step([old("a-2")], IN_PLACE, proven=False) == RollStep(start=1)


def test_the_old_ones_that_do_no_work_leave_first() -> None:
    berths = [old("a-1"), old("a-2", Presence.ABSENT), new("a-3")]

    assert next_step(berths, ONE_MORE, proven=True) == RollStep(retire=("a-2",))


def test_the_least_missed_leave_first_when_fewer_are_wanted() -> None:
    berths = [new("a-2"), new("a-1"), new("a-3")]

    assert next_step(berths, replace(ONE_MORE, count=1), proven=True) == RollStep(retire=("a-2", "a-1"))


def test_what_an_operator_stopped_keeps_its_place() -> None:
    assert next_step([new("a-1", Presence.HELD), new("a-2")], ONE_MORE, proven=True) == RollStep()
    assert is_settled([new("a-1", Presence.HELD), new("a-2")], ONE_MORE)


def test_a_removed_group_leaves_whole() -> None:
    nothing = Size(count=0, max_surge=1, max_unavailable=0)

    assert next_step([new("a-1"), new("a-2", Presence.STARTING)], nothing, proven=True).retire == (
        "a-2",
        "a-1",
    )


@st.composite
def bounds(draw: st.DrawFn) -> Size:
    surge = draw(st.integers(0, 3))
    return Size(draw(st.integers(0, 6)), surge, draw(st.integers(0 if surge else 1, 3)))


class _Group:
    """Real enough: places, and a world that starts, drains and crashes as the dice say."""

    def __init__(self, count: int) -> None:
        self.berths = [old(f"old-{number}") for number in range(count)]
        self.made = 0

    def carry_out(self, step: RollStep) -> None:
        for _ in range(step.start):
            self.made += 1
            self.berths.append(new(f"new-{self.made}", Presence.STARTING))
        self.berths = [
            replace(berth, presence=Presence.LEAVING) if berth.name in step.retire else berth
            for berth in self.berths
        ]

    def change(self, name: str, presence: Presence | None) -> None:
        self.berths = [
            replace(berth, presence=presence) if berth.name == name and presence else berth
            for berth in self.berths
            if berth.name != name or presence is not None
        ]

    def working(self) -> int:
        return sum(berth.presence is Presence.READY for berth in self.berths)


@given(limits=bounds(), before=st.integers(0, 8), data=st.data())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_no_roll_breaks_the_limits_and_each_one_ends(limits: Size, before: int, data: st.DataObject) -> None:
    group = _Group(before)
    proven = False
    for turn in range(400):
        step = next_step(group.berths, limits, proven=proven)
        if step.start:
            assert len(group.berths) + step.start <= limits.count + limits.max_surge
        if any(berth.presence is Presence.READY for berth in group.berths if berth.name in step.retire):
            ready_left = group.working() - sum(
                berth.presence is Presence.READY for berth in group.berths if berth.name in step.retire
            )
            assert ready_left >= limits.count - limits.max_unavailable
        group.carry_out(step)
        if not proven and any(not berth.is_new for berth in group.berths if berth.presence is Presence.READY):
            assert sum(berth.is_new for berth in group.berths) <= 1
        if is_settled(group.berths, limits):
            return
        busy = [
            berth
            for berth in group.berths
            if berth.presence in {Presence.STARTING, Presence.LEAVING, Presence.ABSENT}
        ]
        canary = any(berth.is_new and berth.presence is Presence.READY for berth in group.berths)
        assert busy or (canary and not proven), "nothing to wait for, and nothing to do"
        if canary:
            proven = True
        if busy:
            lucky = data.draw(st.sampled_from(busy))
            crash = turn < 20 and data.draw(st.integers(0, 5)) == 0
            group.change(
                lucky.name,
                None if lucky.presence is Presence.LEAVING else Presence.ABSENT if crash else Presence.READY,
            )
        if turn < 20 and data.draw(st.integers(0, 9)) == 0 and group.working():
            victim = next(berth for berth in group.berths if berth.presence is Presence.READY)
            group.change(victim.name, Presence.ABSENT)
    pytest.fail(f"the roll never ended: {group.berths}")


@given(limits=bounds(), before=st.integers(0, 8))
def test_an_undisturbed_roll_replaces_every_program_once(limits: Size, before: int) -> None:
    group = _Group(before)
    least = group.working()
    for _ in range(200):
        group.carry_out(next_step(group.berths, limits, proven=group.made > 0))
        least = min(least, group.working())
        group.berths = [
            replace(berth, presence=Presence.READY) if berth.presence is Presence.STARTING else berth
            for berth in group.berths
            if berth.presence is not Presence.LEAVING
        ]
        if is_settled(group.berths, limits):
            break

    assert is_settled(group.berths, limits)
    assert group.made == limits.count
    assert least >= min(before, limits.count) - limits.max_unavailable
