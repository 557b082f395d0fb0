"""What every broker promises about leases: claims of a worker that is silent or replaced go to another."""

from __future__ import annotations

import pytest

from taskd.base.errors import LeaseLostError
from taskd.brokers.base import Broker
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Ack
from tests.contract.brokers import (
    Clock,
    bodies,
    fall_asleep,
    is_readable,
    message,
    needs,
    send,
)


def test_a_claim_whose_lease_ran_out_goes_to_the_next_claimer(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.LEASES)
    send(broker, message())
    silent = broker.intake("silent", ["mail"], lease_s=10.0)
    (lost,) = silent.claim(1)
    other = broker.intake("other", ["mail"], lease_s=10.0)

    clock.advance(9.0)
    other.renew()
    assert list(other.claim(1)) == []
    clock.advance(2.0)
    (taken,) = other.claim(1)

    assert (taken.body, taken.deliveries) == (lost.body, 2)
    assert list(silent.settle([Ack(lost.tag)])) == [lost.tag]
    with pytest.raises(LeaseLostError, match="silent"):
        silent.claim(1)
    with pytest.raises(LeaseLostError):
        silent.renew()


def test_a_renewed_lease_keeps_its_claims(broker: Broker, clock: Clock) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"], lease_s=10.0)
    (delivery,) = intake.claim(1)
    other = broker.intake("other", ["mail"], lease_s=10.0)

    for _ in range(10):
        clock.advance(5.0)
        intake.renew()
        other.renew()
        assert list(other.claim(1)) == []

    assert list(intake.settle([Ack(delivery.tag)])) == []


def test_a_jump_of_the_wall_clock_ends_no_lease(broker: Broker, clock: Clock) -> None:
    send(broker, message())
    broker.intake("w", ["mail"]).claim(1)
    other = broker.intake("other", ["mail"])

    clock.now_at += 1_000_000.0

    assert list(other.claim(1)) == []


def test_a_second_generation_fences_off_the_first(broker: Broker) -> None:
    needs(broker, BrokerCan.LEASES)
    send(broker, message())
    first = broker.intake("w", ["mail"])
    (delivery,) = first.claim(1)

    second = broker.intake("w", ["mail"])

    assert list(first.settle([Ack(delivery.tag)])) == [delivery.tag]
    with pytest.raises(LeaseLostError, match="w"):
        first.claim(1)
    with pytest.raises(LeaseLostError):
        first.renew()
    (again,) = second.claim(1)
    assert (again.body, again.deliveries) == (delivery.body, 2)


def test_a_fenced_generation_that_closes_takes_nothing_from_its_successor(broker: Broker) -> None:
    needs(broker, BrokerCan.LEASES)
    send(broker, message())
    first = broker.intake("w", ["mail"])
    second = broker.intake("w", ["mail"])
    (delivery,) = second.claim(1)

    first.close()

    assert list(second.settle([Ack(delivery.tag)])) == []


def test_a_takeover_wakes_the_other_workers(broker: Broker) -> None:
    needs(broker, BrokerCan.LEASES)
    send(broker, message())
    broker.intake("w", ["mail"]).claim(1)
    other = broker.intake("other", ["mail"])
    fall_asleep(other)

    broker.intake("w", ["elsewhere"])

    assert is_readable(other)
    assert bodies(other.claim(1)) == ["x"]


def test_closing_returns_claims_unstarted_and_wakes_others(broker: Broker) -> None:
    needs(broker, BrokerCan.RETURNS)
    send(broker, message())
    intake = broker.intake("w", ["mail"])
    intake.claim(1)
    other = broker.intake("other", ["mail"])
    fall_asleep(other)

    intake.close()
    intake.close()

    assert is_readable(other)
    assert other.claim(1)[0].deliveries == 1
