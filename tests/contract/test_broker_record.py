"""What every broker promises: it offers what its record says, and nothing else."""

from __future__ import annotations

import inspect

import pytest

from taskd.brokers.base import Advancing, Broker, Carrying, Replying
from taskd.brokers.once import SendsOnce
from taskd.config.kinds import BrokerCan


def _offers(thing: object, protocol: type) -> bool:
    methods = [name for name, _ in inspect.getmembers(protocol, inspect.isfunction) if name[0] != "_"]
    return all(callable(getattr(thing, name, None)) for name in methods)


@pytest.mark.parametrize(
    ("capability", "protocol"), [(BrokerCan.ONCE, SendsOnce), (BrokerCan.REPLY, Replying)]
)
def test_a_broker_has_the_methods_of_its_capabilities(
    broker: Broker, capability: BrokerCan, protocol: type
) -> None:
    assert (capability in broker.kind.can) == _offers(broker, protocol)


@pytest.mark.parametrize(
    ("capability", "protocol"), [(BrokerCan.ADVANCE, Advancing), (BrokerCan.CARRY_RESULTS, Carrying)]
)
def test_its_intakes_have_the_methods_of_its_capabilities(
    broker: Broker, capability: BrokerCan, protocol: type
) -> None:
    assert (capability in broker.kind.can) == _offers(broker.intake("w", ["mail"]), protocol)


def test_its_address_has_a_scheme_of_its_record(broker: Broker) -> None:
    assert broker.url.partition("://")[0] in broker.kind.schemes
