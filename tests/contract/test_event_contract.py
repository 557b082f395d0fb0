"""Events over every broker: who listens gets them, who does not costs nothing, who is slow loses some."""

from __future__ import annotations

import pytest

from taskd.base.errors import BrokerError
from taskd.brokers.base import Broker, Mailbox
from taskd.brokers.topology import EVENT_EXCHANGE, MAX_WAITING_EVENTS
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Outgoing
from tests.contract.brokers import Clock, bodies, is_readable, message, needs
from tests.waiting import wait_until


def event(text: str, routing_key: str = "worker.heartbeat") -> Outgoing:
    return message(text, routing_key, exchange=EVENT_EXCHANGE)


def heard(box: Mailbox, count: int) -> list[str]:
    """Return what a listener gets, once it has got so many: a server needs a moment to push them."""
    found: list[str] = []

    def is_enough() -> bool:
        found.extend(bodies(box.receive()))
        return len(found) >= count

    wait_until(is_enough)
    return found


def test_an_event_reaches_every_listener_whose_pattern_it_matches(broker: Broker) -> None:
    needs(broker, BrokerCan.BINDINGS)
    everything, workers = broker.event_box("celeryev.1"), broker.event_box("celeryev.2", "worker.#")
    sender = broker.event_sender()

    sender.send([event("beat"), event("tasks", "task.multi")])

    # Listeners order events by their clock.
    assert sorted(heard(everything, 2)) == ["beat", "tasks"]
    assert heard(workers, 1) == ["beat"]


def test_events_to_nobody_go_nowhere(broker: Broker) -> None:
    needs(broker, BrokerCan.LISTENERS)
    sender = broker.event_sender()
    assert not sender.listened()

    sender.send([event("lost")])

    assert bodies(broker.event_box("celeryev.1").receive()) == []
    assert sender.listened()


def test_a_listener_that_has_gone_is_no_listener(broker: Broker) -> None:
    needs(broker, BrokerCan.LISTENERS)
    sender = broker.event_sender()
    box = broker.event_box("celeryev.1")

    box.close()

    assert not sender.listened()


def test_a_waiting_listener_is_woken(broker: Broker) -> None:
    box = broker.event_box("celeryev.1")
    box.receive()

    broker.event_sender().send([event("beat")])

    assert is_readable(box, within_s=60.0)


def test_a_slow_listener_loses_the_oldest_events_and_nothing_grows(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.FIFO)
    box, sender = broker.event_box("celeryev.1"), broker.event_sender()
    for first in range(0, MAX_WAITING_EVENTS + 200, 100):
        clock.advance(2.0)
        sender.send([event(str(number)) for number in range(first, first + 100)])

    got = bodies(box.receive())
    assert len(got) <= MAX_WAITING_EVENTS
    while str(MAX_WAITING_EVENTS + 199) not in got:  # a server may still be passing them on
        assert is_readable(box)
        got += bodies(box.receive())

    assert got[-MAX_WAITING_EVENTS:] == [str(number) for number in range(200, MAX_WAITING_EVENTS + 200)]


def test_a_queue_gets_what_it_is_bound_to(broker: Broker) -> None:
    needs(broker, BrokerCan.BINDINGS)
    for _ in range(2):
        broker.bind("mail", "letters", "topic", "letter.*")

    broker.publisher().publish(
        [message("a", "letter.red", exchange="letters"), message("b", "parcel", exchange="letters")]
    )

    assert bodies(broker.intake("w", ["mail"]).claim(10)) == ["a"]
    needs(broker, BrokerCan.EXCHANGES)
    with pytest.raises(BrokerError, match="letters"):
        broker.bind("mail", "letters", "fanout", "")
