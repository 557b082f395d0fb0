"""What becomes of a task whose pool child died."""

from __future__ import annotations

import json

from taskd.consumer.running.child_loss import cause, decide
from taskd.pools.base import ChildLost
from taskd.protocol.delivery import Ack, Dead, Requeue


def lost(*, started: bool = True, signal: int = 9, exit_code: int = -1) -> ChildLost:
    return ChildLost(1, 4711, started, exit_code, signal, max_rss_bytes=1000, last_words="boom")


def test_a_task_that_had_not_begun_goes_back_unblamed() -> None:
    assert decide(2, 3, lost(started=False), 7).settlement == Requeue(7, started=False)


def test_a_task_that_killed_its_child_is_tried_again_with_a_death_on_its_account() -> None:
    assert decide(1, 3, lost(), 7).settlement == Requeue(7, died=True)


def test_the_last_death_parks_the_task_with_the_evidence() -> None:
    settlement = decide(2, 3, lost(signal=11), 7).settlement

    assert isinstance(settlement, Dead)
    assert settlement.reason == "its pool child died 3 times, last by signal 11 (SIGSEGV)"
    evidence = json.loads(settlement.evidence)
    assert evidence["deaths"] == 3
    assert evidence["last_words"] == "boom"
    assert evidence["pid"] == 4711


def test_what_was_acknowledged_before_it_ran_is_over_and_leaves_nothing_to_settle() -> None:
    loss = decide(0, 3, lost(), 7, acknowledged=True)

    assert (loss.settlement, loss.is_final) == (None, True)


def test_a_task_that_may_not_run_again_fails_at_the_first_death_of_its_child() -> None:
    loss = decide(0, 3, lost(), 7, again=False)

    assert (loss.settlement, loss.is_final) == (Ack(7), True)
    assert decide(0, 3, lost(started=False), 7, again=False).settlement == Requeue(7, started=False)


def test_every_task_runs_again_after_the_death_of_its_whole_worker() -> None:
    whole = lost(signal=0, exit_code=-1)

    assert decide(0, 3, whole, 7, again=False).settlement == Requeue(7, died=True)


def test_the_words_say_what_the_settlement_does() -> None:
    assert decide(0, 3, lost(), 7).fate == "queued again (death 1 of 3)"
    assert decide(0, 3, lost(started=False), 7).fate == "queued again"
    assert decide(2, 3, lost(), 7).fate == (
        "dead-lettered: its pool child died 3 times, last by signal 9 (SIGKILL)"
    )
    assert [decide(deaths, 3, lost(), 7).is_final for deaths in range(3)] == [False, False, True]


def test_the_cause_names_the_signal_or_the_exit_code() -> None:
    assert cause(lost(signal=9)) == "signal 9 (SIGKILL)"
    assert cause(lost(signal=0, exit_code=3)) == "exit code 3"
