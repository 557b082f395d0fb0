"""Who waits for whom, and when the daemon is up."""

from __future__ import annotations

import math

import pytest

from taskd.config.process import ProcessConfig
from taskd.supervisor.model.machine import State
from taskd.supervisor.model.waiting import Standing, is_up, needed, next_look, waits_for

NOW = 100.0


def standing(
    state: State = State.READY,
    *,
    name: str = "a-1",
    wanted: bool = True,
    give_up_at: float = 160.0,
    is_done: bool = False,
    is_over: bool = False,
    is_worker: bool = False,
) -> Standing:
    return Standing(name, state, wanted, give_up_at, is_done, is_over, is_worker)


def reason(settings: ProcessConfig, *members: Standing) -> str:
    return waits_for(settings, lambda group: members if group == "a" else (), NOW)


AFTER = ProcessConfig(after=("a",))
REQUIRES = ProcessConfig(requires=("a",))


@pytest.mark.parametrize(
    ("other", "after_waits", "requires_waits"),
    [
        (standing(State.READY), False, False),
        (standing(State.DOWN, is_done=True, is_over=True), False, False),
        (standing(State.STARTING), True, True),
        (standing(State.DOWN), True, True),
        (standing(State.BACKOFF), True, True),
        (standing(State.FAILED), False, True),
        (standing(State.DOWN, wanted=False), False, True),
        (standing(State.DOWN, is_over=True), False, True),
        (standing(State.STARTING, give_up_at=NOW), False, True),
        (standing(State.READY, wanted=False), False, False),
    ],
)
def test_after_waits_for_what_can_still_come_and_requires_for_readiness(
    other: Standing, after_waits: bool, requires_waits: bool
) -> None:
    assert bool(reason(AFTER, other)) == after_waits
    assert bool(reason(REQUIRES, other)) == requires_waits


def test_every_process_of_a_group_is_waited_for() -> None:
    text = reason(REQUIRES, standing(), standing(State.STARTING, name="a-2"))

    assert text == "waits for a-2, which it requires (STARTING)"


def test_a_process_that_the_load_does_not_need_is_not_waited_for() -> None:
    assert reason(REQUIRES, standing(), standing(State.DOWN, name="a-2", wanted=False)) == ""


def test_a_program_without_dependencies_waits_for_nobody() -> None:
    assert reason(ProcessConfig(), standing(State.DOWN)) == ""


def test_what_living_programs_were_started_after_is_stopped_later() -> None:
    assert needed([AFTER, REQUIRES, ProcessConfig(after=("b", "c"))]) == {"a", "b", "c"}


@pytest.mark.parametrize(
    ("programs", "up"),
    [
        ([], True),
        ([standing(), standing()], True),
        ([standing(), standing(State.STARTING)], False),
        ([standing(), standing(State.FAILED)], True),
        ([standing(), standing(State.STARTING, give_up_at=NOW)], True),
        ([standing(), standing(State.DOWN, wanted=False)], True),
        ([standing(State.FAILED)], False),
        ([standing(State.STARTING, give_up_at=NOW)], False),
        ([standing(State.DOWN, is_done=True, is_over=True)], True),
        ([standing(State.DOWN, wanted=False)], True),
        ([standing(State.FAILED, is_worker=True), standing()], False),
        ([standing(State.FAILED, is_worker=True), standing(is_worker=True), standing()], True),
    ],
)
def test_the_daemon_is_up_when_nothing_is_left_to_wait_for_and_something_works(
    programs: list[Standing], up: bool
) -> None:
    assert is_up(programs, NOW) is up


def test_the_next_look_is_when_the_next_start_has_taken_too_long() -> None:
    programs = [
        standing(give_up_at=130.0),
        standing(give_up_at=120.0, wanted=False),
        standing(give_up_at=90.0),
        standing(give_up_at=140.0),
    ]

    assert next_look(programs, NOW) == 130.0
    assert next_look([], NOW) == math.inf
