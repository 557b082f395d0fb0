"""What every broker promises about delays: a message is claimed when it is due, never before."""

from __future__ import annotations

from taskd.brokers.base import Advancing, Broker
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Delay
from tests.contract.brokers import (
    Clock,
    bodies,
    fall_asleep,
    is_readable,
    message,
    needs,
    send,
)


def test_a_delayed_message_waits_until_it_is_due(broker: Broker, clock: Clock) -> None:
    send(broker, message("later", due_at=clock.now_at + 60.0), message("now"))
    intake = broker.intake("w", ["mail"])

    assert bodies(intake.claim(10)) == ["now"]
    assert intake.next_due_at() == clock.now_at + 60.0
    clock.advance(60.0)
    intake.renew()

    assert intake.depth() == 1
    assert bodies(intake.claim(10)) == ["later"]
    assert intake.next_due_at() is None


def test_a_message_due_in_the_past_is_there_at_once(broker: Broker, clock: Clock) -> None:
    send(broker, message(due_at=clock.now_at - 1.0))

    assert bodies(broker.intake("w", ["mail"]).claim(1)) == ["x"]


def test_delayed_messages_are_listed_soonest_first_and_stay_unclaimed(broker: Broker, clock: Clock) -> None:
    send(broker, *[message(str(s), "ab"[s % 2], due_at=clock.now_at + s) for s in (30, 15, 20, 5)])
    intake = broker.intake("w", ["a", "b"])

    listed = intake.scheduled(3)

    assert [(due_at - clock.now_at, delivery.body) for due_at, delivery in listed] == [
        (5.0, b"5"),
        (15.0, b"15"),
        (20.0, b"20"),
    ]
    assert intake.depth() == 0
    assert len(intake.scheduled(100)) == 4


def test_delayed_messages_can_be_made_to_come_sooner(broker: Broker, clock: Clock) -> None:
    send(broker, *[message(str(s), due_at=clock.now_at + s) for s in (5, 15, 30)])
    intake = broker.intake("w", ["mail"])
    needs(broker, BrokerCan.ADVANCE)
    needs(broker, BrokerCan.FIFO)
    assert isinstance(intake, Advancing)
    first, second, third = intake.scheduled(3)
    fall_asleep(intake)

    intake.advance([third, first, third], clock.now_at)

    assert is_readable(intake)
    assert bodies(intake.claim(10)) == ["5", "30"]
    assert intake.scheduled(3) == [second]
    intake.advance([first], clock.now_at)  # it is claimed, and not there any more
    assert list(intake.claim(10)) == []


def test_a_delay_puts_a_claim_off(broker: Broker, clock: Clock) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    intake.settle([Delay(delivery.tag, clock.now_at + 5.0)])

    assert list(intake.claim(1)) == []
    clock.advance(5.0)
    assert intake.claim(1)[0].deliveries == 1


def test_a_delayed_message_wakes_the_worker_to_set_its_timer(broker: Broker, clock: Clock) -> None:
    intake = broker.intake("w", ["mail"])
    fall_asleep(intake)

    send(broker, message(due_at=clock.now_at + 60.0))

    assert is_readable(intake)


def test_many_messages_due_at_once_all_come(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.FIFO)
    send(broker, *[message(str(n), due_at=clock.now_at + 1.0) for n in range(2500)])
    intake = broker.intake("w", ["mail"])
    clock.advance(2.0)

    claimed: list[str] = []
    while batch := intake.claim(500):
        claimed += bodies(batch)

    assert claimed == [str(n) for n in range(2500)]
