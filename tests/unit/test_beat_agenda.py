"""The agenda: what is due, the rule for missed runs, and clocks that jump."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from taskd.beat.agenda import Agenda, Occurrence
from taskd.beat.schedules.crontab import cron
from taskd.beat.schedules.interval import Interval

NOON = 1_772_366_400.0  # a whole day's multiple plus twelve hours


def agenda(now: float = NOON, **every_s: float) -> Agenda:
    return Agenda({name: Interval(span) for name, span in every_s.items()}, now)


def test_nothing_is_due_at_the_start() -> None:
    schedule = agenda(minute=60.0)

    assert schedule.due(NOON) == []
    assert schedule.next_at() == NOON + 60


def test_an_entry_is_due_at_its_time_and_once() -> None:
    schedule = agenda(minute=60.0)

    assert schedule.due(NOON + 59.999) == []
    assert schedule.due(NOON + 60.001) == [Occurrence("minute", NOON + 60)]
    assert schedule.due(NOON + 60.002) == []


def test_entries_come_in_the_order_of_their_times() -> None:
    schedule = agenda(slow=20.0, quick=7.0)

    found = schedule.due(NOON + 25)

    assert found == sorted(found, key=lambda occurrence: occurrence.fire_at)
    assert {occurrence.name for occurrence in found} == {"slow", "quick"}


def test_of_several_missed_runs_only_the_last_one_runs() -> None:
    schedule = agenda(minute=60.0)

    assert schedule.due(NOON + 3601) == [Occurrence("minute", NOON + 3600)]
    assert schedule.next_at() == NOON + 3660


def test_a_missed_cron_run_runs_once_after_a_suspend_of_days() -> None:
    schedule = Agenda({"nightly": cron("0 3 * * *")}, NOON)

    assert schedule.due(NOON + 4 * 86_400) == [Occurrence("nightly", NOON + 3 * 86_400 + 15 * 3600)]


def test_a_jump_from_1970_to_today_is_quick_and_runs_once() -> None:
    schedule = Agenda({"minutely": cron("* * * * *"), "quick": Interval(0.01)}, 100.0)

    found = {occurrence.name: occurrence.fire_at for occurrence in schedule.due(NOON + 0.005)}

    assert found == {"minutely": NOON, "quick": NOON}


def test_a_small_step_back_of_the_clock_repeats_nothing() -> None:
    schedule = agenda(minute=60.0)
    schedule.due(NOON + 60)

    assert schedule.due(NOON + 59) == []
    assert schedule.due(NOON + 61) == []
    assert schedule.next_at() == NOON + 120


def test_a_big_step_back_of_the_clock_does_not_silence_an_entry() -> None:
    schedule = agenda(now=NOON + 86_400, minute=60.0)

    assert schedule.due(NOON + 1) == []
    assert schedule.next_at() == NOON + 60


def test_an_empty_agenda_is_never_due() -> None:
    assert agenda().next_at() == math.inf
    assert agenda().due(NOON) == []


@given(
    every_s=st.floats(min_value=0.5, max_value=5000.0),
    steps_s=st.lists(st.floats(min_value=0.0, max_value=20_000.0), max_size=30),
)
def test_runs_are_strictly_later_than_the_ones_before_and_the_last_that_were_due(
    every_s: float, steps_s: list[float]
) -> None:
    interval = Interval(every_s)
    schedule = agenda(entry=every_s)
    now, former = NOON, NOON
    for step_s in steps_s:
        now += step_s
        found = schedule.due(now)
        assert len(found) <= 1
        # Nothing is left behind: the next run lies ahead, and the last one was the latest possible.
        assert schedule.next_at() > now
        for occurrence in found:
            assert former < occurrence.fire_at <= now < interval.next_after(occurrence.fire_at)
            former = occurrence.fire_at
        if not found:
            assert interval.next_after(former) > now
