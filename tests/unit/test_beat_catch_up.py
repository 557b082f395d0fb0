"""Missed runs: skip, last and all, after however long."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskd.beat.catch_up import WALK, Missed, Rule, Skipped, plan
from taskd.beat.schedules.crontab import cron
from taskd.beat.schedules.interval import Interval

NOON = 1_772_366_400.0
MINUTE = Interval(60.0)


def rule(missed: Missed, max_missed: int = 3, missed_after_s: float = 10.0) -> Rule:
    return Rule(missed, max_missed, missed_after_s)


def test_a_run_that_is_on_time_runs_under_every_rule() -> None:
    for missed in Missed:
        decided = plan(MINUTE, NOON, NOON + 0.01, rule(missed))

        assert (decided.fire, decided.skipped, decided.following) == ((NOON,), None, NOON + 60)


def test_last_runs_the_latest_however_late() -> None:
    decided = plan(MINUTE, NOON, NOON + 3659, rule(Missed.LAST))

    assert decided.fire == (NOON + 3600,)
    assert decided.skipped == Skipped(NOON, NOON + 3540, 60, exact=True)
    assert decided.following == NOON + 3660


def test_all_runs_the_latest_up_to_the_cap_oldest_first() -> None:
    decided = plan(MINUTE, NOON, NOON + 300, rule(Missed.ALL, max_missed=3))

    assert decided.fire == (NOON + 180, NOON + 240, NOON + 300)
    assert decided.skipped == Skipped(NOON, NOON + 120, 3, exact=True)


def test_skip_runs_only_what_is_hardly_late() -> None:
    late = plan(MINUTE, NOON, NOON + 311, rule(Missed.SKIP))
    in_time = plan(MINUTE, NOON, NOON + 309, rule(Missed.SKIP))

    assert late.fire == ()
    assert late.skipped == Skipped(NOON, NOON + 300, 6, exact=True)
    assert in_time.fire == (NOON + 300,)
    assert in_time.skipped == Skipped(NOON, NOON + 240, 5, exact=True)


def test_a_missed_cron_run_runs_once_after_a_suspend_of_days() -> None:
    nightly = cron("0 3 * * *")
    first_at = NOON + 15 * 3600

    decided = plan(nightly, first_at, NOON + 4 * 86_400, rule(Missed.LAST))

    assert decided.fire == (first_at + 3 * 86_400,)


def test_a_jump_from_1970_to_today_is_quick() -> None:
    for schedule in (cron("* * * * *"), Interval(0.01)):
        decided = plan(schedule, schedule.next_after(100.0), NOON + 0.005, rule(Missed.ALL, max_missed=2))

        assert len(decided.fire) == 2
        assert decided.fire[-1] == NOON
        assert decided.skipped is not None
        assert not decided.skipped.exact
        assert decided.skipped.count >= WALK
        assert decided.skipped.last_at <= decided.fire[0]


@given(
    every_s=st.floats(min_value=0.5, max_value=5000.0),
    late_s=st.floats(min_value=0.0, max_value=500_000.0),
    missed=st.sampled_from(Missed),
    cap=st.integers(1, 50),
)
def test_every_occurrence_runs_or_is_skipped_and_none_is_lost(
    every_s: float, late_s: float, missed: Missed, cap: int
) -> None:
    interval = Interval(every_s)
    first_at = interval.next_after(NOON)
    now = first_at + late_s

    decided = plan(interval, first_at, now, rule(missed, cap, missed_after_s=1.0))

    occurrences = [first_at]
    while (following := interval.next_after(occurrences[-1])) <= now:
        occurrences.append(following)
    assert decided.following == following
    fired = list(decided.fire)
    assert fired == occurrences[len(occurrences) - len(fired) :] or missed is Missed.SKIP
    if missed is Missed.LAST:
        assert fired == occurrences[-1:]
    if missed is Missed.ALL:
        assert fired == occurrences[-cap:]
    skipped = 0 if decided.skipped is None else decided.skipped.count
    if decided.skipped is None or decided.skipped.exact:
        assert skipped + len(fired) == len(occurrences)
    else:
        assert skipped + len(fired) <= len(occurrences)
