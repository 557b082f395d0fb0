"""How much is claimed ahead."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskd.consumer.claiming.prefetch import (
    AHEAD_S,
    MAX_AHEAD,
    claim_size,
    stall_after_s,
    target_held,
)
from taskd.consumer.running.statistics import RunTimes


def test_nothing_is_claimed_ahead_before_a_run_time_was_measured() -> None:
    assert target_held("auto", capacity=4, mean_s=0.0) == 4


def test_auto_claims_about_a_tenth_of_a_second_of_work_ahead() -> None:
    assert target_held("auto", capacity=2, mean_s=0.01) == 2 + 20


def test_long_tasks_are_never_hoarded() -> None:
    assert target_held("auto", capacity=2, mean_s=10.0) == 2


def test_however_short_the_tasks_the_claim_ahead_is_bounded() -> None:
    assert target_held("auto", capacity=8, mean_s=1e-9) == 8 + MAX_AHEAD


def test_a_number_is_claimed_ahead_as_given() -> None:
    assert target_held(5, capacity=2, mean_s=10.0) == 7
    assert target_held(0, capacity=2, mean_s=1e-6) == 2


def test_an_idle_slot_is_filled_at_once() -> None:
    assert claim_size(held=3, target=4, capacity=4) == 1


def test_claims_ahead_wait_until_half_is_used_up() -> None:
    assert claim_size(held=60, target=100, capacity=4) == 0
    assert claim_size(held=50, target=100, capacity=4) == 50


@given(st.integers(0, 5000), st.integers(1, 64), st.floats(0.0, 100.0))
def test_a_claim_never_exceeds_the_target(held: int, capacity: int, mean_s: float) -> None:
    target = target_held("auto", capacity, mean_s)

    size = claim_size(held, target, capacity)

    assert size >= 0
    assert held + size <= max(held, target)
    assert size > 0 or held >= capacity, "a slot stays idle"


def test_an_unknown_task_has_no_expected_run_time() -> None:
    assert RunTimes().expected_s("never.seen") == 0.0


def test_a_longer_run_counts_at_once_and_a_shorter_one_slowly() -> None:
    times = RunTimes()
    times.record("report", 0.001)
    times.record("report", 10.0)
    assert times.expected_s("report") == 10.0

    times.record("report", 0.001)

    assert times.expected_s("report") > 8.0


def test_tasks_are_measured_apart_by_name() -> None:
    times = RunTimes()
    times.record("slow", 10.0)
    times.record("quick", 0.001)

    assert times.expected_s("quick") == 0.001


def test_a_claim_ahead_was_a_mistake_when_nothing_finishes_for_five_mean_run_times() -> None:
    assert stall_after_s(0.01) == 0.05


def test_a_pause_of_the_machine_is_no_stall_and_a_stall_is_noticed_in_a_tenth_of_a_second() -> None:
    assert stall_after_s(0.0) == 0.02
    assert stall_after_s(10.0) == AHEAD_S
