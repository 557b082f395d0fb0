"""The model of leases is right, it needs each of its safeguards, and real brokers do as it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

import pytest

from taskd.brokers.base import Broker
from taskd.config.kinds import BrokerCan
from tests.contract.brokers import OPENERS, Clock, needs
from tests.contract.lease_conformance import Driven, Tour
from tests.contract.lease_model import Flaw, Found, Model, Verb, explore, start, stuck

#: What each safeguard is for.
FAILS = {
    Flaw.NO_FENCE: "a claim is settled by its generation alone",
    Flaw.NO_LEASE_COMPARE: "a lease that runs is nobody else's",
    Flaw.TAKEOVER_KEEPS_CLAIMS: "a generation holds what is claimed for it",
    Flaw.LEASE_COMES_BACK: "a generation holds what is claimed for it",
    Flaw.CLAIM_IN_TWO_STEPS: "a generation holds what is claimed for it",
    Flaw.REPLACE_IN_TWO_STEPS: "no accepted message is missing",
    Flaw.ONCE_FORGETS: "an id is sent once",
}
#: Brokers whose leases end with the boot of the machine.
REBOOTED = frozenset({"sqlite"})
#: Steps that touch one message at a time, so that a second message adds nothing to them.
OF_ONE_MESSAGE = frozenset(
    {
        Verb.SEND_DELAYED,
        Verb.SEND_ONCE,
        Verb.POSTPONE,
        Verb.REPLACE,
        Verb.CLOCK_FORWARD,
        Verb.CLOCK_BACK,
        Verb.REBOOT,
    }
)
LEASED = ["memory", "redis", "sqlite"]


@pytest.fixture(scope="module")
def sound() -> Found:
    """Every state that two workers reach with one message."""
    return explore(Model(), start())


def test_no_state_breaks_an_invariant(sound: Found) -> None:
    assert sound.invariant is None, sound.wrong and sound.way_to(sound.wrong)
    assert len(sound.reached) > 5000


@pytest.mark.slow
@pytest.mark.parametrize("worker", [0, 1])
def test_either_worker_alone_ends_every_message(sound: Found, worker: int) -> None:
    assert not stuck(Model(), sound.reached, worker)


@pytest.mark.parametrize("flaw", FAILS)
def test_without_a_safeguard_its_invariant_fails(flaw: Flaw) -> None:
    assert explore(Model(flaw), start()).invariant == FAILS[flaw]


@pytest.mark.slow
def test_without_giving_back_the_message_of_a_dead_worker_waits_for_ever() -> None:
    flawed = Model(Flaw.NO_GIVING_BACK)
    found = explore(flawed, start())

    assert found.invariant is None
    assert stuck(flawed, found.reached, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_messages_break_no_invariant_either() -> None:
    model = Model(without=OF_ONE_MESSAGE)
    found = explore(model, start(messages=2))

    assert found.invariant is None, found.wrong and found.way_to(found.wrong)
    assert not stuck(model, found.reached, 0)


Leading = Callable[[Tour, int], Driven]


@pytest.fixture(params=LEASED)
def lead(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Leading]:
    """Lead each broker in turn: ``lead(tour, number)`` goes on from the beginning, in a queue of its own."""
    if request.param not in OPENERS:
        pytest.skip("another package's broker is tested")
    clock = Clock()
    broker: Broker = OPENERS[request.param](tmp_path, clock.timing)
    needs(broker, BrokerCan.LEASES)

    def begin(tour: Tour, number: int) -> Driven:
        driven = Driven(broker, clock, reboots=request.param in REBOOTED, number=number)
        try:
            tour.lead(driven)
        finally:
            driven.close()
        return driven

    yield begin
    broker.close()


def test_brokers_do_as_the_model_does(lead: Leading) -> None:
    tour = Tour(Random(1), most_steps=400)
    for number in range(3):
        lead(tour, number)

    assert len(tour.met) > 300


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_brokers_do_as_the_model_does_in_every_state(lead: Leading, sound: Found) -> None:
    tour = Tour(Random(1))
    number = met = 0
    while len(tour.met) > met or not number:
        met = len(tour.met)
        lead(tour, number)
        number += 1

    assert set(sound.reached) == tour.met
