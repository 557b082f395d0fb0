"""The steps that end a task, and the steps that end a worker."""

from __future__ import annotations

import math
import signal

from hypothesis import given
from hypothesis import strategies as st

from taskd.consumer.commands.escalating import SOFT, EscalationLadder, EscalationStep, steps
from taskd.consumer.running import shutdown_ladder

seconds = st.floats(0.0, 1000.0)


def test_a_task_is_asked_then_signalled_then_killed() -> None:
    assert steps(EscalationLadder(soft_s=10.0, term_s=5.0), signal.SIGTERM, now=100.0) == [
        EscalationStep(100.0, SOFT),
        EscalationStep(110.0, signal.SIGTERM),
        EscalationStep(115.0, signal.SIGKILL),
    ]


def test_without_a_soft_step_the_signal_comes_at_once() -> None:
    assert steps(EscalationLadder(0.0, 5.0), signal.SIGINT, 1.0) == [
        EscalationStep(1.0, signal.SIGINT),
        EscalationStep(6.0, signal.SIGKILL),
    ]


def test_after_kill_nothing_follows() -> None:
    assert steps(EscalationLadder(0.0, 5.0), signal.SIGKILL, 1.0) == [EscalationStep(1.0, signal.SIGKILL)]


@given(seconds, seconds, st.sampled_from([signal.SIGTERM, signal.SIGINT, signal.SIGKILL]), seconds)
def test_every_ladder_begins_now_gets_harder_and_ends_with_kill(
    soft_s: float, term_s: float, signum: int, now: float
) -> None:
    plan = steps(EscalationLadder(soft_s, term_s), signum, now)

    assert plan[0].at == now
    assert [step.at for step in plan] == sorted(step.at for step in plan)
    assert plan[-1].signum == signal.SIGKILL
    assert SOFT not in [step.signum for step in plan[1:]]


@given(seconds, seconds, st.floats(0.0, 1000.0))
def test_a_worker_asks_its_tasks_in_the_last_part_of_its_time(
    now: float, stop_s: float, soft_s: float
) -> None:
    ladder = shutdown_ladder.ladder(now, stop_s, soft_s)

    assert ladder.cold_at == now + stop_s
    assert ladder.soft_at == math.inf if soft_s == 0.0 else now <= ladder.soft_at <= ladder.cold_at
