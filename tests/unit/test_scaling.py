"""The autoscaler's deciders: demand, sharing, steadiness, choice, and all of them together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskd.protocol.status import Heartbeat
from taskd.supervisor.scaling.autoscaler import FleetScaler
from taskd.supervisor.scaling.choice import Candidate, to_leave, to_return
from taskd.supervisor.scaling.demand import demand
from taskd.supervisor.scaling.load import GroupLimits, Load, MachineBudget, ScaledGroup
from taskd.supervisor.scaling.metering import STALE_S, Meter, Sample
from taskd.supervisor.scaling.sharing import Claim, share
from taskd.supervisor.scaling.simulation import Arrivals, SimulatedSecond, simulate
from taskd.supervisor.scaling.steadying import MAX_PENALTY, Steadiness, steady

NO_LIMIT = MachineBudget()


def bounds(
    least: int = 1, most: int = 10, latency_s: float = 1.0, weight: float = 1.0, slots: int = 1
) -> GroupLimits:
    return GroupLimits(least, most, latency_s, weight, slots)


def load(ready: int = 0, busy: int = 0, service_s: float = 0.1, arrivals_per_s: float = 0.0) -> Load:
    return Load(ready, busy, service_s, arrivals_per_s)


# -- demand ----------------------------------------------------------------------------------


def test_one_waiting_job_is_worth_one_process() -> None:
    assert demand(load(ready=1), bounds(), present=1).processes == 1


def test_a_backlog_is_to_begin_within_the_latency_target() -> None:
    # 100 tasks of 0.1 s are 10 s of work; two seconds for it take five slots, two slots a process.
    wanted = demand(load(ready=100), bounds(latency_s=2.0, slots=2), present=1)

    assert wanted.processes == 3


def test_a_steady_flow_leaves_a_fifth_of_the_slots_free() -> None:
    assert demand(load(arrivals_per_s=40.0), bounds(), present=1).processes == 5


def test_busy_processes_are_not_given_up_while_messages_wait() -> None:
    assert demand(load(ready=1, busy=6), bounds(slots=2), present=3).processes == 3


def test_a_first_slow_task_grows_the_group_by_one_and_not_at_once_to_the_most() -> None:
    unknown = load(ready=50, busy=1, service_s=0.0)

    assert demand(unknown, bounds(), present=1).processes == 2


def test_the_reason_names_a_bound_that_cuts_the_demand() -> None:
    wanted = demand(load(ready=1000), bounds(most=4), present=1)

    assert wanted.processes == 4
    assert "the most is 4; 100 would be needed" in wanted.why


# -- sharing ---------------------------------------------------------------------------------


def claims(**wanted: tuple[int, float]) -> dict[str, Claim]:
    return {name: Claim(1, number, weight) for name, (number, weight) in wanted.items()}


def test_two_busy_groups_share_evenly_and_a_small_one_has_all_it_wants() -> None:
    # Horizon leaves the third queue at 0 workers in this case (laravel/horizon issue 1647).
    given_ = share(claims(a=(10, 1.0), b=(10, 1.0), c=(1, 1.0)), MachineBudget(processes=10))

    assert given_ == {"a": 5, "b": 4, "c": 1}


def test_weights_divide_what_is_left() -> None:
    assert share(claims(a=(10, 3.0), b=(10, 1.0), c=(1, 1.0)), MachineBudget(processes=10)) == {
        "a": 7,
        "b": 2,
        "c": 1,
    }


def test_memory_limits_as_processes_do_and_leaving_ones_still_hold_theirs() -> None:
    big = Claim(1, 10, 1.0, process_bytes=100, leaving=3)
    small = Claim(1, 10, 1.0, process_bytes=10)

    assert share({"big": big, "small": small}, MachineBudget(memory_bytes=500)) == {"big": 1, "small": 10}


@given(
    st.dictionaries(
        st.sampled_from("abcdef"),
        st.builds(
            lambda least, more, weight, leaving: Claim(least, least + more, weight, leaving=leaving),
            st.integers(1, 5),
            st.integers(0, 20),
            st.floats(0.1, 10.0),
            st.integers(0, 5),
        ),
        min_size=1,
    ),
    st.integers(0, 40),
)
def test_everybody_has_the_floor_and_nobody_more_than_it_wants(
    asked: Mapping[str, Claim], processes: int
) -> None:
    given_ = share(asked, MachineBudget(processes=processes))

    floors = sum(claim.least for claim in asked.values())
    assert all(asked[name].least <= number <= asked[name].wanted for name, number in given_.items())
    assert not processes or sum(given_.values()) <= max(processes, floors)
    # Nothing that fits is left unused.
    left = sum(claim.wanted for claim in asked.values()) - sum(given_.values())
    assert left == 0 or sum(given_.values()) >= processes > 0


# -- steadiness ------------------------------------------------------------------------------


def play(wanted: Iterable[int], present: int = 1, window_s: float = 60.0) -> list[int]:
    """Return the number of processes after each second."""
    memory, result = Steadiness(), []
    for second, number in enumerate(wanted):
        present, memory = steady(number, present, memory, now=float(second), window_s=window_s)
        result.append(present)
    return result


def changes(numbers: list[int]) -> int:
    return sum(a != b for a, b in pairwise(numbers))


def test_grows_at_once() -> None:
    assert play([1, 7]) == [1, 7]


def test_shrinks_to_the_most_that_was_wanted_within_the_window() -> None:
    seconds = play([5] + [1] * 30 + [3] * 10 + [1] * 80)

    assert seconds[60] == 5
    assert seconds[62] == 3
    assert seconds[-1] == 1


def test_a_square_wave_of_two_minutes_makes_two_changes_in_ten_minutes() -> None:
    wave = [8 if second // 60 % 2 == 0 else 1 for second in range(600)]

    assert changes([1, *play(wave)]) <= 4
    assert changes(play(wave)[200:]) == 0


def test_a_steady_low_load_forgets_the_penalty() -> None:
    memory = Steadiness(penalty=MAX_PENALTY)
    present = 5
    for second in range(3600):
        wanted = 5 - min(4, second // 800)
        present, memory = steady(wanted, present, memory, now=float(second), window_s=60.0)

    assert memory.penalty < MAX_PENALTY


@given(st.lists(st.integers(1, 20), min_size=1, max_size=200))
def test_there_are_never_fewer_than_wanted_now_nor_more_than_ever_wanted(wanted: list[int]) -> None:
    numbers = play(wanted)

    assert all(number >= now for number, now in zip(numbers, wanted, strict=True))
    assert max(numbers) <= max(wanted)


# -- choice ----------------------------------------------------------------------------------


def test_the_idle_leave_first_then_the_youngest_task() -> None:
    crowd = [Candidate(1, 0, 0.0), Candidate(2, 1, 9.0), Candidate(3, 1, 1.0), Candidate(4, 0, 0.0)]

    assert [each.number for each in to_leave(crowd, 3)] == [4, 1, 3]


def test_who_has_most_to_finish_is_called_back_first() -> None:
    assert [each.number for each in to_return([Candidate(1, 1, 3.0), Candidate(2, 4, 1.0)], 1)] == [2]


# -- all together ----------------------------------------------------------------------------


def test_without_data_a_group_is_held_where_it_is() -> None:
    decision = FleetScaler(60.0).decide([ScaledGroup("mail", bounds(), None, present=4)], NO_LIMIT, 0.0)[
        "mail"
    ]

    assert decision.target == 4
    assert decision.why == ("nothing is known of the load: held as it is",)


def test_an_idle_third_group_gets_a_process_although_two_others_want_everything() -> None:
    busy = load(ready=1000, busy=5)
    groups = [ScaledGroup(name, bounds(), busy, 5) for name in ("a", "b")] + [
        ScaledGroup("c", bounds(), load(ready=3), 0)
    ]

    decisions = FleetScaler(60.0).decide(groups, MachineBudget(processes=10), 0.0)

    assert decisions["c"].target == 1
    assert decisions["a"].why[0] == "the machine gives 5 of 10"


@given(
    st.lists(
        st.tuples(st.integers(0, 500), st.integers(0, 30), st.floats(0.0, 20.0), st.floats(0.0, 200.0)),
        min_size=1,
        max_size=40,
    ),
    st.integers(1, 3),
    st.integers(0, 9),
)
def test_no_load_takes_a_group_out_of_its_bounds(
    seconds: list[tuple[int, int, float, float]], least: int, more: int
) -> None:
    scaler, limits, present = FleetScaler(60.0), bounds(least, least + more), least
    for second, (ready, busy, service_s, rate) in enumerate(seconds):
        group = ScaledGroup("mail", limits, Load(ready, busy, service_s, rate), present)
        present = scaler.decide([group], NO_LIMIT, float(second))["mail"].target
        assert least <= present <= least + more


# -- metering --------------------------------------------------------------------------------


def report(pid: int = 1, heard: float = 0.0, **figures: Any) -> Sample:
    return Sample(pid, heard, Heartbeat(**figures))


def test_arrivals_are_what_was_done_and_what_waits_more_than_before() -> None:
    meter = Meter()
    for second in range(60):
        seen = meter.read([report(heard=float(second), done=second * 8, depth=second * 2)], float(second))

    assert seen is not None
    assert seen.arrivals_per_s == pytest.approx(10.0, rel=0.01)


def test_a_process_that_ends_does_not_make_arrivals_negative() -> None:
    meter = Meter()
    meter.read([report(1, done=100), report(2, done=100)], 0.0)

    seen = meter.read([report(1, heard=1.0, done=110)], 1.0)

    assert seen is not None
    assert seen.arrivals_per_s > 0.0


def test_the_waiting_messages_are_counted_once_although_every_process_sees_them() -> None:
    seen = Meter().read([report(1, depth=7), report(2, heard=1.0, depth=5)], 1.0)

    assert seen is not None
    assert seen.ready == 5


def test_a_silent_group_says_nothing() -> None:
    assert Meter().read([report(heard=0.0)], STALE_S + 1) is None


# -- recorded loads --------------------------------------------------------------------------


def replay(
    arrivals: Iterable[Arrivals], seconds: int, budget: MachineBudget = NO_LIMIT, **groups: GroupLimits
) -> list[SimulatedSecond]:
    return list(simulate(groups, arrivals, budget=budget, seconds=seconds))


def test_one_job_of_a_tenth_of_a_second_does_not_start_eight_workers() -> None:
    # As Horizon's balancing does; see its AutoScaler.
    rows = replay([Arrivals(5, "mail", 1, 0.1)], 60, mail=bounds())

    assert max(row.processes for row in rows) == 1


def test_a_burst_is_served_within_a_few_times_the_target_and_then_given_back() -> None:
    burst = [Arrivals(10, "mail", 1000, 0.1)]

    rows = replay(burst, 400, mail=bounds(most=20, latency_s=10.0))

    assert next(row.second for row in rows if row.second > 10 and row.ready == 0) <= 25
    assert rows[-1].processes == 1


def test_a_long_running_neighbour_does_not_freeze_the_others() -> None:
    # laravel/horizon issue 1539: one worker for 500 jobs while long ones terminate elsewhere.
    load_ = [Arrivals(0, "long", 10, 300.0), Arrivals(30, "short", 500, 0.1)]

    rows = replay(load_, 200, MachineBudget(processes=10), long=bounds(), short=bounds())

    assert max(row.processes for row in rows if row.group == "short") >= 4
    assert all(a.processes + b.processes <= 10 for a, b in zip(rows[::2], rows[1::2], strict=True))


def test_a_day_of_gentle_waves_changes_seldom() -> None:
    waves = [Arrivals(second, "mail", 20 + 15 * (second // 60 % 2), 0.1) for second in range(3600)]

    rows = replay(waves, 3600, mail=bounds())

    assert changes([row.processes for row in rows]) <= 8
