"""Which end goes to the app while the store of the app's results is away."""

from __future__ import annotations

import pytest

from taskd.base.backoff import Backoff
from taskd.consumer.running.probing import Probing, Turn, Way


@pytest.fixture
def probing() -> Probing:
    return Probing(Backoff(base_s=1.0, max_s=10.0, jitter=False))


def test_every_end_goes_while_the_store_takes_them(probing: Probing) -> None:
    assert [probing.turn(0.0) for _ in range(3)] == [Turn.GO] * 3


def test_the_first_failure_shuts_the_way_and_others_that_were_on_it_change_nothing(probing: Probing) -> None:
    assert probing.failed(5.0, was_probe=False)
    assert not probing.failed(5.5, was_probe=False)

    assert (probing.next_at, probing.failures) == (6.0, 1)
    assert probing.turn(5.9) is Turn.WAIT


def test_one_end_at_a_time_probes_and_less_and_less_often(probing: Probing) -> None:
    probing.failed(0.0, was_probe=False)
    waits = []
    for _ in range(6):
        now = probing.next_at
        assert [probing.turn(now) for _ in range(1000)] == [Turn.PROBE] + [Turn.WAIT] * 999
        probing.failed(now, was_probe=True)
        waits.append(probing.next_at - now)

    assert waits == [2.0, 4.0, 8.0, 10.0, 10.0, 10.0]


@pytest.mark.parametrize("probed", [False, True])
def test_a_success_opens_the_way_for_all_at_once_whoever_has_it(probing: Probing, probed: bool) -> None:
    probing.failed(0.0, was_probe=False)
    if probed:
        probing.turn(probing.next_at)

    assert probing.took()
    assert not probing.took()

    assert [probing.turn(0.0) for _ in range(3)] == [Turn.GO] * 3
    probing.failed(0.0, was_probe=False)
    assert probing.next_at == 1.0, "the waits begin anew"


def test_a_probe_that_tells_nothing_of_the_store_makes_room_for_another(probing: Probing) -> None:
    probing.failed(0.0, was_probe=False)
    assert probing.turn(1.0) is Turn.PROBE

    probing.told_nothing(1.0)

    assert probing.turn(1.0) is Turn.PROBE
    assert probing.failures == 1


def test_an_end_that_fails_again_while_others_are_taken_is_to_blame_itself(probing: Probing) -> None:
    assert not probing.is_fault_of_end(None)
    before = probing.taken
    probing.failed(0.0, was_probe=False)
    assert not probing.is_fault_of_end(before), "the way is shut: nothing is known of the end"
    probing.took()

    assert probing.is_fault_of_end(before)
    assert not probing.is_fault_of_end(probing.taken)
    assert probing.way is Way.OPEN
