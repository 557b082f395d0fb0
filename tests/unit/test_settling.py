"""Outcomes are kept until they are sent, and sent in an order that loses nothing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from taskd.base.errors import StorageError
from taskd.consumer.moments import Settled
from taskd.consumer.settling.settling import FULL_BATCH, LINGER_S
from taskd.protocol.delivery import Ack, Outgoing, Settlement
from tests.unit.fake_stores import FakeIntake, Stores
from tests.unit.outward import Outward


def settling_over(stores: Stores) -> Outward:
    return Outward(stores)


def test_results_are_stored_before_their_messages_are_acknowledged() -> None:
    intake = FakeIntake()
    settling = settling_over(intake)
    settling.settle(Ack(1))
    settling.keep_result("id", "SUCCESS", b"{}")

    settling.flush(intake)

    assert intake.calls == ["store", "settle"]
    assert len(settling) == 0


def test_what_could_not_be_sent_is_sent_the_next_time() -> None:
    intake = FakeIntake()
    settling = settling_over(intake)
    settling.settle(Ack(1))
    settling.keep_result("id", "SUCCESS", b"{}")
    intake.broken = {"settle"}
    with pytest.raises(StorageError):
        settling.flush(intake)

    intake.broken = set()
    settling.flush(intake)

    assert intake.calls == ["store", "settle"], "the result is not stored twice"
    assert intake.settled == [Ack(1)]


def test_no_message_is_acknowledged_while_its_result_cannot_be_stored() -> None:
    intake = FakeIntake()
    settling = settling_over(intake)
    settling.settle(Ack(1))
    settling.keep_result("id", "SUCCESS", b"{}")
    intake.broken = {"store"}

    with pytest.raises(StorageError):
        settling.flush(intake)

    assert intake.settled == []
    assert len(settling) == 2


def test_refused_tags_are_reported() -> None:
    intake = FakeIntake()
    settling = settling_over(intake)
    settling.settle(Ack(-5))
    settling.settle(Ack(5))

    assert settling.flush(intake) == [-5]


def test_a_flush_is_due_when_idle_when_full_and_when_old() -> None:
    settling = settling_over(FakeIntake())
    assert not settling.is_due(1e9, idle=True), "there is nothing to send"

    settling.settle(Ack(1))
    fresh = settling.first_at

    assert settling.is_due(fresh, idle=True)
    assert not settling.is_due(fresh, idle=False)
    assert settling.is_due(fresh + 2 * LINGER_S, idle=False)

    for tag in range(2, FULL_BATCH + 1):
        settling.settle(Ack(tag))
    assert settling.is_due(fresh, idle=False)


def test_outcomes_of_a_lost_generation_are_dropped_and_early_retries_are_not() -> None:
    intake = FakeIntake()
    settling = settling_over(intake)
    settling.settle(Ack(1))
    settling.keep_result("id", "SUCCESS", b"{}")
    settling.publish(Outgoing(routing_key="default", headers=b"{}", body=b""))

    assert settling.void() == 1
    settling.flush(intake)

    assert intake.calls == ["publish"]


def test_the_result_of_a_task_acknowledged_early_outlives_its_generation() -> None:
    intake = FakeIntake()
    settling = settling_over(intake)
    settling.keep_result("ran-early", "SUCCESS", b"{}", last_word=True)
    settling.keep_result("runs-again", "SUCCESS", b"{}")

    settling.void()

    assert settling.first_at, "a flush will come"
    settling.flush(intake)
    assert intake.stored == ["ran-early"]


class CarryingIntake(FakeIntake):
    """Takes results along."""

    def settle_after(self, results: list[str], outcomes: Sequence[Settlement]) -> Sequence[int]:
        self._call("settle after results")
        self.stored += results
        self.settled += outcomes
        return ()


def over_one_server(stores: Stores) -> Outward:
    return Outward(stores, in_one_step=True)


def test_results_travel_with_the_settlements_where_both_lie_on_one_server() -> None:
    intake = CarryingIntake()
    settling = over_one_server(intake)
    settling.settle(Ack(1))
    settling.keep_result("a", "SUCCESS", b"{}")
    settling.keep_result("b", "SUCCESS", b"{}", last_word=True)

    settling.flush(intake)

    assert intake.calls == ["settle after results"]
    assert (intake.stored, intake.settled) == (["a", "b"], [Ack(1)])
    assert len(settling) == 0


def test_what_could_not_travel_together_stays_together() -> None:
    intake = CarryingIntake()
    settling = over_one_server(intake)
    settling.settle(Ack(1))
    settling.keep_result("a", "SUCCESS", b"{}")
    intake.broken = {"settle after results"}

    with pytest.raises(StorageError):
        settling.flush(intake)

    assert len(settling) == 2


def test_messages_leave_between_the_results_and_the_settlements() -> None:
    intake = CarryingIntake()
    settling = over_one_server(intake)
    settling.settle(Ack(1))
    settling.keep_result("a", "SUCCESS", b"{}")
    settling.publish(Outgoing(routing_key="default", headers=b"{}", body=b""))

    settling.flush(intake)

    assert intake.calls == ["store", "publish", "settle"]


def test_results_and_settlements_go_apart_where_they_lie_apart() -> None:
    intake = CarryingIntake()
    settling = settling_over(intake)
    settling.settle(Ack(1))
    settling.keep_result("a", "SUCCESS", b"{}")

    settling.flush(intake)

    assert intake.calls == ["store", "settle"]


def test_subscribers_hear_of_a_flush_once_with_the_tags_that_were_refused() -> None:
    intake = FakeIntake()
    settling = settling_over(intake)
    heard: list[Settled] = []
    settling.settled.subscribe(heard.append)
    settling.settle(Ack(-5))
    settling.settle(Ack(5))

    settling.flush(intake)
    settling.flush(intake)

    assert heard == [Settled((Ack(-5), Ack(5)), [-5])]
