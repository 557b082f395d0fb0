"""How many slots a pool has at a load, and when it gives one up."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hypothesis import given
from hypothesis import strategies as st

from taskd.consumer.running.autoscaling import Memory, SlotBounds, decide

LOOK_EVERY_S = 0.25
BOUNDS = SlotBounds(least=2, most=8, quiet_s=10.0)

bounds_of = st.builds(
    lambda least, more, quiet_s: SlotBounds(least, least + more, quiet_s),
    st.integers(1, 20),
    st.integers(1, 50),
    st.floats(0.0, 60.0),
)


class Pool:
    """A pool that is looked at again and again; ``sizes`` is what it had after each look."""

    def __init__(self, bounds: SlotBounds, capacity: int = 0) -> None:
        self.bounds = bounds
        self.capacity = capacity or bounds.least
        self.memory = Memory(0.0, 0, bounds.most)
        self.now = 0.0
        self.sizes: list[int] = []

    def look(self, held: int) -> int:
        self.now += LOOK_EVERY_S
        self.capacity, self.memory = decide(self.bounds, self.memory, self.now, held, self.capacity)
        self.sizes.append(self.capacity)
        return self.capacity

    def run(self, seconds: float, load: Callable[[int], int]) -> None:
        """``load`` returns the jobs in the pool by its capacity."""
        for _ in range(int(seconds / LOOK_EVERY_S)):
            self.look(load(self.capacity))


def changes(sizes: Iterable[int]) -> list[int]:
    """Return the directions in which the size went, each once."""
    found: list[int] = []
    before = None
    for size in sizes:
        if before is not None and size != before and (not found or found[-1] != (size > before)):
            found.append(size > before)
        before = size
    return found


def test_a_full_pool_grows_at_the_first_look() -> None:
    assert Pool(BOUNDS).look(held=2) == 4


def test_a_backlog_is_given_as_many_slots_as_it_has_jobs() -> None:
    assert Pool(BOUNDS).look(held=5) == 6
    assert Pool(BOUNDS).look(held=1000) == 8


def test_a_pool_that_is_not_full_stays_as_it_is() -> None:
    assert Pool(BOUNDS).look(held=1) == 2


def test_rest_shrinks_the_pool_slot_by_slot_but_not_before_the_quiet_time() -> None:
    pool = Pool(BOUNDS, capacity=8)

    pool.run(9.9, lambda _: 0)
    assert pool.capacity == 8

    pool.run(10.0, lambda _: 0)
    assert pool.capacity == 2
    steps = [before - after for before, after in zip(pool.sizes, pool.sizes[1:], strict=False)]
    assert set(steps) == {0, 1}


def test_one_busy_moment_in_the_quiet_time_keeps_the_slots_that_it_needed() -> None:
    pool = Pool(BOUNDS, capacity=8)
    for number in range(400):
        pool.look(held=5 if number % 20 == 0 else 0)

    assert pool.capacity == 6


@given(bounds_of, st.lists(st.integers(0, 200), max_size=300))
def test_the_size_never_leaves_the_bounds(bounds: SlotBounds, loads: list[int]) -> None:
    pool = Pool(bounds)
    for held in loads:
        assert bounds.least <= pool.look(held) <= bounds.most


@given(bounds_of, st.lists(st.integers(0, 200), max_size=300))
def test_a_slot_that_is_busy_is_never_given_up(bounds: SlotBounds, loads: list[int]) -> None:
    pool = Pool(bounds)
    for held in loads:
        before = pool.capacity
        after = pool.look(held)
        assert after >= before - 1
        assert after >= before or after >= held


@given(bounds_of, st.integers(0, 80), st.integers(0, 80), st.booleans())
def test_a_constant_load_makes_no_pool_swing(
    bounds: SlotBounds, load: int, start: int, broker_holds_the_rest: bool
) -> None:
    pool = Pool(bounds, capacity=min(max(start, bounds.least), bounds.most))

    pool.run(
        4 * bounds.quiet_s + 60,
        (lambda capacity: min(load, capacity)) if broker_holds_the_rest else lambda _: load,
    )

    assert changes(pool.sizes) in ([], [True], [False], [True, False])
    assert len(set(pool.sizes[-20:])) == 1
    assert pool.capacity >= min(load, bounds.most), "the load does not fit"
    assert pool.capacity <= max(bounds.least, load + 1), "more than the load needs"


@given(bounds_of, st.lists(st.integers(0, 40), min_size=1, max_size=8))
def test_a_load_that_repeats_within_the_quiet_time_ends_at_its_peak(
    bounds: SlotBounds, cycle: list[int]
) -> None:
    bounds = SlotBounds(bounds.least, bounds.most, 5.0)
    pool = Pool(bounds)
    for number in range(400):
        pool.look(cycle[number % len(cycle)])

    settled = pool.sizes[200:]
    assert len(set(settled)) == 1
    assert settled[0] >= min(max(cycle), bounds.most)
