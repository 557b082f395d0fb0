"""What every broker promises about settlements: each claim ends once, as its worker says."""

from __future__ import annotations

from taskd.brokers.base import Broker
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Ack, Dead, Replace, Requeue
from tests.contract.brokers import (
    Clock,
    bodies,
    message,
    needs,
    send,
)


def test_an_acknowledged_message_never_comes_back(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert list(intake.settle([Ack(delivery.tag)])) == []
    intake.close()

    assert list(broker.intake("w", ["mail"]).claim(1)) == []


def test_an_unknown_tag_is_refused_and_the_others_are_settled(broker: Broker) -> None:
    send(broker, message("a"), message("b"))
    intake = broker.intake("w", ["mail"])
    first, second = intake.claim(2)

    refused = intake.settle([Ack(first.tag), Ack(987654), Ack(second.tag), Requeue(876543)])

    assert sorted(refused) == [876543, 987654]
    intake.close()
    assert list(broker.intake("w", ["mail"]).claim(2)) == []


def test_a_tag_is_refused_the_second_time(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert list(intake.settle([Ack(delivery.tag), Ack(delivery.tag)])) == [delivery.tag]
    assert list(intake.settle([Requeue(delivery.tag)])) == [delivery.tag]


def test_a_late_settlement_never_hits_a_newer_message(broker: Broker) -> None:
    send(broker, message("old"))
    intake = broker.intake("w", ["mail"])
    (old,) = intake.claim(1)
    intake.settle([Ack(old.tag)])
    send(broker, message("new"))
    (new,) = intake.claim(1)

    assert new.tag != old.tag
    assert list(intake.settle([Ack(old.tag)])) == [old.tag]


def test_a_requeued_message_keeps_its_place_and_counts_its_delivery(broker: Broker) -> None:
    needs(broker, BrokerCan.PLACES)
    send(broker, message("first"), message("second"))
    intake = broker.intake("w", ["mail"])
    (first,) = intake.claim(1)

    intake.settle([Requeue(first.tag)])

    assert [(d.body, d.deliveries) for d in intake.claim(2)] == [(b"first", 2), (b"second", 1)]


def test_a_message_returned_unstarted_does_not_count_its_delivery(broker: Broker) -> None:
    needs(broker, BrokerCan.RETURNS)
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    intake.settle([Requeue(delivery.tag, started=False)])

    assert intake.claim(1)[0].deliveries == 1


def test_a_death_is_counted(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    for deaths in range(3):
        (delivery,) = intake.claim(1)
        assert delivery.deaths == deaths
        intake.settle([Requeue(delivery.tag, died=True)])


def test_the_death_that_buries_a_message_is_counted_too(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    intake.settle([Requeue(intake.claim(1)[0].tag, died=True)])

    intake.settle([Dead(intake.claim(1)[0].tag, "died twice", died=True)])

    assert broker.desk().dead_letters()[0].deaths == 2


def test_a_large_batch_is_settled_at_once(broker: Broker) -> None:
    send(broker, *[message() for _ in range(3000)])
    intake = broker.intake("w", ["mail"])
    claimed = intake.claim(3000)

    assert list(intake.settle([Ack(delivery.tag) for delivery in claimed])) == []
    assert broker.desk().queues()[0].claimed == 0


def test_a_replacement_takes_the_place_of_the_claim(broker: Broker, clock: Clock) -> None:
    send(broker, message("first try"))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    refused = intake.settle([Replace(delivery.tag, message("second try", due_at=clock.now_at + 1.0))])

    assert list(refused) == []
    clock.advance(1.0)
    (again,) = intake.claim(10)
    assert (again.body, again.deliveries) == (b"second try", 1)


def test_a_refused_replacement_publishes_nothing(broker: Broker) -> None:
    needs(broker, BrokerCan.LEASES)
    send(broker, message())
    first = broker.intake("w", ["mail"])
    (delivery,) = first.claim(1)
    second = broker.intake("w", ["mail"])

    assert list(first.settle([Replace(delivery.tag, message("retry"))])) == [delivery.tag]
    assert bodies(second.claim(10)) == ["x"]
