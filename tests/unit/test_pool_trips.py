"""How many jobs travel together."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.pools.base import Job
from taskd.pools.prefork.pool import TRIP_JOBS, TRIP_S, is_short, next_trip


def backlog(*expected_s: float) -> deque[Job]:
    return deque(Job(tag, b"", expected) for tag, expected in enumerate(expected_s))


def tags(jobs: list[Job]) -> list[int]:
    return [job.tag for job in jobs]


@pytest.mark.parametrize("alone_s", [0.0, 0.5])
def test_a_job_of_unknown_or_long_run_time_travels_alone(alone_s: float) -> None:
    waiting = backlog(alone_s, 0.0001, 0.0001)

    assert tags(next_trip(waiting, TRIP_JOBS)) == [0]
    assert len(waiting) == 2


def test_short_jobs_travel_together_up_to_two_milliseconds() -> None:
    waiting = backlog(*[TRIP_S / 4] * 6)

    assert tags(next_trip(waiting, TRIP_JOBS)) == [0, 1, 2, 3]
    assert tags(next_trip(waiting, TRIP_JOBS)) == [4, 5]


@pytest.mark.parametrize("stranger_s", [0.0, 0.5])
def test_no_job_of_unknown_or_long_run_time_is_put_behind_short_ones(stranger_s: float) -> None:
    waiting = backlog(0.0001, 0.0001, stranger_s, 0.0001)

    assert tags(next_trip(waiting, TRIP_JOBS)) == [0, 1]


def test_a_trip_has_no_more_jobs_than_the_share_of_a_child() -> None:
    assert len(next_trip(backlog(*[0.000001] * 1000), TRIP_JOBS)) == TRIP_JOBS
    assert len(next_trip(backlog(*[0.000001] * 1000), 3)) == 3


def test_short_means_known_and_no_longer_than_a_trip() -> None:
    assert [is_short(Job(0, b"", expected_s)) for expected_s in (0.0, 0.00001, TRIP_S, 0.1)] == [
        False,
        True,
        True,
        False,
    ]


@given(
    st.lists(st.one_of(st.just(0.0), st.floats(0.0, 0.004), st.floats(0.0, 60.0)), max_size=60),
    st.lists(st.integers(1, TRIP_JOBS), min_size=1, max_size=10),
)
def test_however_jobs_are_mixed_none_waits_behind_a_long_one_and_their_order_stays(
    expected_s: list[float], shares: list[int]
) -> None:
    waiting = backlog(*expected_s)
    taken: list[Job] = []
    while waiting:
        share = shares[len(taken) % len(shares)]
        trip = next_trip(waiting, share)

        assert 1 <= len(trip) <= share
        assert len(trip) == 1 or all(map(is_short, trip))
        assert len(trip) == 1 or sum(job.expected_s for job in trip) <= TRIP_S + 1e-9
        taken += trip

    assert tags(taken) == list(range(len(expected_s)))
