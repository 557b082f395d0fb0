"""Backoff: ceilings that double, full jitter, floors."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from taskd.base.backoff import Backoff


def lowest(low: float, high: float) -> float:
    return low


def highest(low: float, high: float) -> float:
    return high


def test_the_ceiling_doubles_up_to_the_longest_delay() -> None:
    backoff = Backoff(base_s=1.0, max_s=10.0)

    assert [backoff.ceiling_s(attempt) for attempt in range(1, 7)] == [1.0, 2.0, 4.0, 8.0, 10.0, 10.0]


def test_the_factor_can_be_another() -> None:
    assert Backoff(base_s=1.0, max_s=100.0, factor=3.0).ceiling_s(3) == 9.0


def test_without_jitter_the_delay_is_the_ceiling() -> None:
    assert Backoff(base_s=1.0, max_s=10.0, jitter=False).delay_s(3) == 4.0


def test_jitter_draws_between_zero_and_the_ceiling() -> None:
    assert Backoff(base_s=1.0, max_s=10.0, uniform=lowest).delay_s(3) == 0.0
    assert Backoff(base_s=1.0, max_s=10.0, uniform=highest).delay_s(3) == 4.0


def test_the_floor_holds_whatever_is_drawn() -> None:
    assert Backoff(base_s=1.0, max_s=10.0, floor_s=0.5, uniform=lowest).delay_s(3) == 0.5
    assert Backoff(base_s=0.1, max_s=10.0, floor_s=0.5, jitter=False).delay_s(1) == 0.5


@given(attempt=st.integers(min_value=-5, max_value=10**9))
def test_any_attempt_has_a_delay_within_bounds(attempt: int) -> None:
    backoff = Backoff(base_s=0.1, max_s=60.0, floor_s=0.01)

    assert 0.01 <= backoff.delay_s(attempt) <= 60.0
    assert backoff.ceiling_s(attempt) >= backoff.ceiling_s(attempt - 1)
