"""When a program may start again."""

from __future__ import annotations

import pytest

from taskd.base.backoff import Backoff
from taskd.supervisor.model.machine import Outlook
from taskd.supervisor.model.restart import PROBE_S, RestartPolicy


def policy(*, intensity: int = 10, jitter: bool = False, when: str = "always") -> RestartPolicy:
    backoff = Backoff(0.1, 60.0, jitter=jitter)
    return RestartPolicy(intensity=intensity, period_s=60.0, backoff=backoff, when=when)


def test_a_fresh_program_starts_at_once() -> None:
    assert policy().outlook(100.0) is Outlook.NOW


def test_the_first_crash_of_a_program_that_was_ready_is_followed_by_a_start_at_once() -> None:
    budget = policy()

    budget.count(100.0, ready_s=0.5)

    assert budget.outlook(100.0) is Outlook.NOW


def test_the_delay_doubles_while_lives_stay_short() -> None:
    budget = policy()
    delays = []
    for now in (100.0, 101.0, 102.0, 103.0):
        budget.count(now, ready_s=0.5)
        delays.append(round(budget.not_before - now, 6))

    assert delays == [0.0, 0.1, 0.2, 0.4]


def test_a_long_life_clears_the_delay() -> None:
    budget = policy()
    for now in (100.0, 101.0, 102.0):
        budget.count(now, ready_s=0.5)

    budget.count(200.0, ready_s=90.0)

    assert budget.outlook(200.0) is Outlook.NOW


def test_a_program_that_never_became_ready_waits_before_the_first_restart_already() -> None:
    budget = policy()

    budget.count(100.0, ready_s=None)

    assert budget.outlook(100.0) is Outlook.LATER
    assert budget.outlook(100.1) is Outlook.NOW


def test_boot_failures_do_not_use_up_the_budget_of_crashes() -> None:
    budget = policy(intensity=2)
    budget.count(100.0, ready_s=None)
    budget.count(101.0, ready_s=None)
    budget.count(102.0, ready_s=1.0)
    budget.count(103.0, ready_s=1.0)

    assert not budget.tripped


def test_more_ends_than_the_intensity_within_the_period_trip_the_program() -> None:
    budget = policy(intensity=3)
    for now in (100.0, 101.0, 102.0):
        budget.count(now, ready_s=None)
    assert not budget.tripped

    budget.count(103.0, ready_s=None)

    assert budget.outlook(104.0) is Outlook.TRIPPED


def test_ends_older_than_the_period_are_forgotten() -> None:
    budget = policy(intensity=3)
    for now in (100.0, 101.0, 102.0, 161.5):
        budget.count(now, ready_s=20.0)

    assert not budget.tripped


def test_a_tripped_program_is_probed_once_a_minute_and_stays_tripped_while_probes_fail() -> None:
    budget = policy(intensity=1)
    budget.count(100.0, ready_s=None)
    budget.count(101.0, ready_s=None)
    assert budget.outlook(101.0 + PROBE_S) is Outlook.NOW

    budget.count(162.0, ready_s=None)

    assert budget.outlook(163.0) is Outlook.TRIPPED
    assert budget.outlook(162.0 + PROBE_S) is Outlook.NOW


def test_a_probe_that_lives_long_enough_ends_the_trip() -> None:
    budget = policy(intensity=1)
    budget.count(100.0, ready_s=None)
    budget.count(101.0, ready_s=None)

    budget.count(400.0, ready_s=200.0)

    assert not budget.tripped


@pytest.mark.parametrize(
    ("when", "code", "over", "done"),
    [
        ("always", 0, False, False),
        ("always", None, False, False),
        ("on-failure", 0, True, True),
        ("on-failure", 1, False, False),
        ("on-failure", None, False, False),
        ("never", 0, True, True),
        ("never", 1, True, False),
        ("never", None, True, False),
    ],
)
def test_the_restart_key_decides_after_which_ends_there_is_another_life(
    when: str, code: int | None, over: bool, done: bool
) -> None:
    budget = policy(when=when)
    budget.count(100.0, ready_s=50.0)
    budget.ended(code=code)

    assert (budget.is_over, budget.is_done) == (over, done)
    assert (budget.outlook(200.0) is Outlook.NEVER) == over

    budget.forgive()
    assert budget.outlook(200.0) is Outlook.NOW


def test_a_process_that_could_not_be_made_is_the_end_for_one_that_is_never_restarted() -> None:
    budget = policy(when="never")

    budget.count(100.0, ready_s=None)

    assert budget.outlook(1000.0) is Outlook.NEVER
    assert not budget.is_done


def test_an_operator_is_obeyed_at_once() -> None:
    budget = policy(intensity=1)
    budget.count(100.0, ready_s=None)
    budget.count(101.0, ready_s=None)

    budget.forgive()

    assert budget.outlook(101.0) is Outlook.NOW
