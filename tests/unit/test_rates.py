"""Rates as people write them, and the limit that they put on a worker."""

from __future__ import annotations

import heapq
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.base.rates import format_rate, parse_rate
from taskd.consumer.claiming.rate_limits import RateLimits
from taskd.sending.options import TaskOptions

LIMITED = TaskOptions(name="shop.report", rate_limit=10.0)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("10/s", 10.0),
        ("30/m", 0.5),
        ("36/h", 0.01),
        ("2.5/s", 2.5),
        ("4", 4.0),
        (4, 4.0),
        ("0", 0.0),
        ("", 0.0),
        (None, 0.0),
    ],
)
def test_a_rate_is_tasks_a_second(text: str | float | None, rate: float) -> None:
    assert parse_rate(text) == pytest.approx(rate)


@pytest.mark.parametrize("text", ["10/d", "ten", "/m", "10/", "-1/s", "nan", "inf/s", "1/2/s"])
def test_what_is_no_rate_is_refused_with_what_one_looks_like(text: str) -> None:
    with pytest.raises(ValueError, match="10/m"):
        parse_rate(text)


@pytest.mark.parametrize("text", ["10/s", "10/m", "90/m", "7/h"])
def test_a_rate_is_written_so_that_it_can_be_read_again(text: str) -> None:
    assert parse_rate(format_rate(parse_rate(text))) == pytest.approx(parse_rate(text))


def test_a_task_without_a_limit_never_waits() -> None:
    limits = RateLimits()

    assert [limits.wait_s(TaskOptions(name="shop.add"), 1, 1.0) for _ in range(100)] == [0.0] * 100


def test_those_that_must_wait_come_back_one_interval_apart() -> None:
    limits = RateLimits()

    waits = [limits.wait_s(LIMITED, tag, 5.0) for tag in range(5)]

    assert waits == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


def test_one_that_comes_back_at_its_time_begins_at_once() -> None:
    limits = RateLimits()
    waits = [limits.wait_s(LIMITED, tag, 5.0) for tag in range(50)]

    assert [limits.wait_s(LIMITED, tag, 5.0 + wait) for tag, wait in enumerate(waits) if tag] == [0.0] * 49


def test_one_that_comes_back_a_little_late_does_not_push_back_the_next() -> None:
    limits = RateLimits()
    limits.wait_s(LIMITED, 1, 5.0)

    assert limits.wait_s(LIMITED, 1, 5.14) == 0.0
    assert limits.wait_s(LIMITED, 1, 5.2) == 0.0


def test_what_was_not_used_is_not_saved_up() -> None:
    limits = RateLimits()
    limits.wait_s(LIMITED, 1, 5.0)

    begun = [limits.wait_s(LIMITED, 1, 900.0) for _ in range(20)].count(0.0)

    assert begun <= 2


def test_each_task_name_has_a_limit_of_its_own() -> None:
    limits = RateLimits()
    limits.wait_s(LIMITED, 1, 5.0)

    assert limits.wait_s(TaskOptions(name="shop.other", rate_limit=10.0), 1, 5.0) == 0.0


def test_a_given_rate_takes_the_place_of_the_tasks_own() -> None:
    limits = RateLimits()
    limits.set("shop.report", 1.0)
    limits.wait_s(LIMITED, 1, 5.0)

    assert limits.wait_s(LIMITED, 1, 5.0) == pytest.approx(1.0)

    limits.set("shop.report", 0.0)
    assert limits.wait_s(LIMITED, 1, 5.0) == 0.0
    assert limits.rate_of(LIMITED) == 0.0


def test_a_new_message_does_not_take_the_place_of_one_that_has_a_time() -> None:
    limits = RateLimits()
    waits = [limits.wait_s(LIMITED, tag, 5.0) for tag in (1, 2, 3)]

    assert limits.wait_s(LIMITED, 4, 5.0 + waits[1]) > 0.0
    assert limits.wait_s(LIMITED, 2, 5.0 + waits[1]) == 0.0


def test_one_that_comes_back_at_a_wrong_time_is_next_and_not_last() -> None:
    limits = RateLimits()
    for tag in range(1, 50):
        limits.wait_s(LIMITED, tag, 5.0)

    assert limits.wait_s(LIMITED, 2, 5.05) == pytest.approx(0.05)


def simulate(
    rate: float, arrivals: list[float], random_: random.Random, late_s: float, workers: int = 1
) -> tuple[list[tuple[float, int]], int]:
    """Put messages through the limits of some workers, each looked at up to ``late_s`` late by any of them.

    Returns the times at which they began with their numbers, in order, and how often any was put back.
    """
    limits, options = [RateLimits() for _ in range(workers)], TaskOptions(name="t", rate_limit=rate)
    # What arrived first is looked at first when both are due, as in the broker.
    due = [(at, number) for number, at in enumerate(sorted(arrivals), start=1)]
    heapq.heapify(due)
    now, begun, put_back = 0.0, [], 0
    while due:
        at, number = heapq.heappop(due)
        now = max(now, at) + random_.random() * late_s
        wait_s = random_.choice(limits).wait_s(options, number, now)
        if wait_s:
            put_back += 1
            heapq.heappush(due, (now + wait_s, number))
        else:
            begun.append((now, number))
        assert put_back < 100 * len(arrivals), "a message is put back again and again"
    return begun, put_back


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32))
def test_no_window_ever_holds_more_than_the_limit_and_nothing_starves(seed: int) -> None:
    random_ = random.Random(seed)
    rate = random_.choice([0.2, 1.0, 7.0, 50.0, 400.0])
    late_s = random_.choice([0.0, 0.002, 0.3 / rate])
    workers = random_.choice([1, 3])
    count = 300
    arrivals = [random_.random() * count / rate * random_.choice([0.0, 0.5, 2.0]) for _ in range(count)]

    begun, _ = simulate(rate, arrivals, random_, late_s, workers)

    assert sorted(number for _, number in begun) == list(range(1, count + 1))
    # The bucket of each worker: one task, and what the longest forgiven delay is worth.
    depth = workers * (1 + max(1.0, 0.05 * rate))
    for first in range(0, count, 7):
        for last in range(first, count, 11):
            window_s = begun[last][0] - begun[first][0]
            assert last - first + 1 <= workers * rate * window_s + depth + 0.01 * rate


def test_a_backlog_is_put_back_once_each_and_is_done_at_the_rate() -> None:
    begun, put_back = simulate(10.0, [0.0] * 500, random.Random(1), late_s=0.0005)

    assert put_back <= 500
    assert begun[-1][0] - begun[0][0] == pytest.approx(49.9, abs=0.5)
    assert [number for _, number in begun] == list(range(1, 501))


def test_workers_that_share_a_queue_lose_little_of_their_rate() -> None:
    begun, put_back = simulate(10.0, [0.0] * 500, random.Random(1), late_s=0.0005, workers=2)

    assert put_back <= 3 * 500
    assert begun[-1][0] - begun[0][0] < 1.2 * 25.0


def test_the_configuration_goes_before_the_task_and_whoever_was_last_counts() -> None:
    limits = RateLimits({"shop.report": "5/s"})
    assert limits.rate_of(LIMITED) == 5.0
    limits.set("shop.report", 2.0)
    assert limits.rate_of(LIMITED) == 2.0

    assert limits.configure({"shop.report": "5/s", "shop.other": "1/h"}) == ["shop.other"]
    assert limits.rate_of(LIMITED) == 2.0, "a change of another limit leaves what an operator said"
    assert limits.configure({"shop.report": "0"}) == ["shop.report", "shop.other"]
    assert limits.wait_s(LIMITED, 1, 1.0) == limits.wait_s(LIMITED, 2, 1.0) == 0.0
    assert limits.configure({}) == ["shop.report"]
    assert limits.rate_of(LIMITED) == 10.0
