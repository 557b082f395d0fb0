"""Alive but not consuming: what the heartbeats of a worker that does nothing look like."""

from __future__ import annotations

from typing import Any, cast

import pytest

from taskd.protocol.status import Draining, Heartbeat, Ready, Waiting
from taskd.supervisor.model.machine import LifeEvent
from taskd.supervisor.programs.consuming import PATIENCE_S, Consuming
from taskd.supervisor.programs.life import ProcessLife

STUCK = Heartbeat(depth=5, done=7)
WORDS = "alive but not consuming: 5 messages wait, and nothing runs or gets done"


def stuck_for(seconds: float) -> Consuming:
    consuming = Consuming()
    for now in (0.0, 1.0, 1.0 + seconds):
        consuming.heard(STUCK, now)
    return consuming


def test_messages_that_wait_beside_a_worker_that_does_nothing_are_noticed_after_a_while() -> None:
    assert stuck_for(PATIENCE_S - 2.0).heard(STUCK, PATIENCE_S + 0.9) == ""
    assert stuck_for(PATIENCE_S - 2.0).heard(STUCK, PATIENCE_S + 1.0) == WORDS


@pytest.mark.parametrize(
    "load",
    [
        Heartbeat(depth=5, done=7, busy=1),
        Heartbeat(depth=5, done=7, reserved=1),
        Heartbeat(depth=5, done=8),
        Heartbeat(depth=5, done=7, quiet=True),
        Heartbeat(depth=0, done=7),
    ],
)
def test_long_tasks_progress_rest_or_an_empty_queue_begin_the_count_anew(load: Heartbeat) -> None:
    consuming = stuck_for(PATIENCE_S)

    assert consuming.heard(load, 100.0) == ""
    assert consuming.heard(STUCK, 101.0) == ""
    assert consuming.heard(STUCK, 102.0) == ""


def life() -> ProcessLife:
    nothing = cast(Any, None)
    made = ProcessLife(nothing, nothing, nothing, nothing, heard=0.0)
    made.hear(Ready(), 0.0)
    return made


def test_it_does_not_count_as_ready_until_it_works_again() -> None:
    program = life()
    for now in (1.0, 2.0):
        assert program.hear(STUCK, now) == (None, "")

    assert program.hear(STUCK, 2.0 + PATIENCE_S) == (LifeEvent.WAITING, WORDS)
    assert program.waiting == WORDS
    assert program.hear(STUCK, 3.0 + PATIENCE_S) == (None, "")  # said once
    assert program.hear(Heartbeat(depth=4, done=8), 60.0) == (LifeEvent.READY, "consumes again")
    assert program.waiting == ""


def test_what_the_program_itself_waits_for_is_not_overwritten() -> None:
    program = life()
    program.hear(Waiting("the broker is away"), 0.5)
    for now in (1.0, 2.0, 2.0 + PATIENCE_S):
        assert program.hear(STUCK, now) == (None, "")

    assert program.waiting == "the broker is away"


def test_the_counts_of_a_program_that_drains_are_those_that_it_tells_and_not_those_of_before() -> None:
    program = life()
    program.hear(Heartbeat(busy=2, reserved=5, done=7), 1.0)

    assert program.hear(Draining(2), 1.1) == (LifeEvent.DRAINING, "drains of its own accord")

    assert (program.load.busy, program.load.reserved, program.load.done, program.held) == (2, 0, 7, 2)
