"""What every broker promises about exchanges: each mailbox gets what its binding matches."""

from __future__ import annotations

import pytest

from taskd.base.errors import BrokerError
from taskd.brokers.base import Broker
from taskd.config.kinds import BrokerCan
from tests.contract.brokers import (
    SILENCE_S,
    bodies,
    is_readable,
    message,
    needs,
    send,
)


def test_a_fanout_reaches_every_mailbox(broker: Broker) -> None:
    needs(broker, BrokerCan.WAKES)
    boxes = [broker.mailbox(f"box{number}", "everyone", "fanout") for number in range(3)]

    send(broker, message("hello", "", exchange="everyone"))

    for box in boxes:
        assert is_readable(box)
        (delivery,) = box.receive()
        assert (delivery.body, delivery.exchange) == (b"hello", "everyone")
        assert list(box.receive()) == []
        assert not is_readable(box, SILENCE_S)


def test_a_direct_exchange_delivers_by_the_exact_key(broker: Broker) -> None:
    needs(broker, BrokerCan.BINDINGS)
    mine = broker.mailbox("mine", "replies", "direct", "key-1")
    other = broker.mailbox("other", "replies", "direct", "key-2")

    send(broker, message("for me", "key-1", exchange="replies"))

    assert bodies(mine.receive()) == ["for me"]
    assert list(other.receive()) == []


def test_a_topic_exchange_delivers_by_pattern(broker: Broker) -> None:
    needs(broker, BrokerCan.FIFO)
    workers = broker.mailbox("workers", "events", "topic", "worker.*")
    everything = broker.mailbox("everything", "events", "topic", "#")

    send(
        broker,
        message("up", "worker.online", exchange="events"),
        message("done", "task.succeeded", exchange="events"),
    )

    assert bodies(workers.receive()) == ["up"]
    assert bodies(everything.receive()) == ["up", "done"]


def test_a_message_that_matches_no_binding_goes_nowhere(broker: Broker) -> None:
    box = broker.mailbox("box", "replies", "direct", "key")

    send(broker, message("lost", "other", exchange="replies"), message("lost", "x", exchange="no such"))

    assert list(box.receive()) == []
    assert list(broker.desk().queues()) == []


def test_a_mailbox_gets_what_is_sent_to_its_queue_directly(broker: Broker) -> None:
    box = broker.mailbox("box", "everyone", "fanout")

    send(broker, message("direct", "box"))

    assert bodies(box.receive()) == ["direct"]


def test_a_closed_mailbox_is_gone(broker: Broker) -> None:
    needs(broker, BrokerCan.EXCHANGES)
    box = broker.mailbox("box", "everyone", "fanout")
    send(broker, message("unread", "", exchange="everyone"))

    box.close()
    box.close()
    send(broker, message("for nobody", "", exchange="everyone"))

    again = broker.mailbox("box", "everyone", "fanout")
    assert list(again.receive()) == []


def test_a_mailbox_of_the_same_name_takes_over_without_old_messages(broker: Broker) -> None:
    needs(broker, BrokerCan.BINDINGS)
    broker.mailbox("box", "everyone", "fanout")
    send(broker, message("old", "", exchange="everyone"))

    box = broker.mailbox("box", "everyone", "fanout")
    send(broker, message("new", "", exchange="everyone"))

    assert bodies(box.receive()) == ["new"]


def test_an_exchange_of_another_type_is_refused(broker: Broker) -> None:
    needs(broker, BrokerCan.EXCHANGES)
    broker.mailbox("box", "everyone", "fanout")

    with pytest.raises(BrokerError, match=r"everyone.*fanout"):
        broker.mailbox("box2", "everyone", "topic")


def test_mailboxes_are_not_listed_among_the_queues(broker: Broker) -> None:
    broker.mailbox("box", "everyone", "fanout")
    broker.intake("w", ["mail"])

    assert [queue.name for queue in broker.desk().queues()] == ["mail"]
