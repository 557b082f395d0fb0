"""What RabbitMQ sends is garbage, ends too soon, or does not come: the connection is lost, no message is."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import closing

import pytest
from amqp.basic_message import Message
from kombu.connection import Connection

from taskd.base.errors import BrokerError, LeaseLostError
from taskd.brokers.amqp.broker import AmqpBroker
from taskd.brokers.amqp.server import AmqpServer
from taskd.config.stores import AmqpConfig
from taskd.protocol.delivery import Ack, Requeue
from tests import services
from tests.contract.brokers import bodies, first_claim, is_readable, message
from tests.proxy import Proxy
from tests.waiting import wait_until

#: What no server sends, and what is said of it.
GARBAGE = {
    b"HTTP/1.1 400 Bad Request\r\n\r\n": "a frame of",
    struct.pack(">BHI", 1, 1, 4) + b"\0\x3c\0\x3c\xce": "ends too soon",
    struct.pack(">BHI", 1, 0, 4) + b"\0\0\0\0\0": "does not end where it should",
    struct.pack(">BHI", 1, 999, 4) + b"\0\x3c\0\x0b\xce": "999",
    struct.pack(">BHI", 77, 1, 0) + b"\xce": "77",
    struct.pack(">BHI", 2, 1, 12) + b"\0" * 12 + b"\xce": "expecting type",
    struct.pack(">BHI", 1, 0, 4) + b"\0\x0a\0\x32\xce": "cannot be read",
}


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    with closing(Proxy(services.rabbit_server().port)) as made:
        yield made


@pytest.fixture
def broker(proxy: Proxy) -> Iterator[AmqpBroker]:
    """Over the proxy."""
    url = services.rabbit_url().replace(str(services.rabbit_server().port), str(proxy.port))
    with closing(AmqpBroker(AmqpServer(url, AmqpConfig(timeout=2.0)))) as made:
        yield made


@pytest.mark.parametrize("garbage", GARBAGE, ids=GARBAGE.values())
def test_garbage_on_the_wire_costs_the_connection_and_no_message(
    garbage: bytes, broker: AmqpBroker, proxy: Proxy
) -> None:
    broker.publisher().publish([message("kept")])
    intake = broker.intake("a@host", ["mail"])
    held = first_claim(intake)

    proxy.inject(garbage)
    assert is_readable(intake)
    with pytest.raises(LeaseLostError, match=GARBAGE[garbage]):
        intake.clear_wakeups()

    assert intake.settle([Ack(held.tag)]) == [held.tag]
    intake.close()
    again = broker.intake("a@host", ["mail"])
    assert bodies([first_claim(again)]) == ["kept"]


def test_a_frame_that_never_ends_costs_the_connection(broker: AmqpBroker, proxy: Proxy) -> None:
    intake = broker.intake("a@host", ["mail"])

    proxy.inject(struct.pack(">BHI", 1, 1, 100) + b"\0\x3c\0\x3c")
    intake.clear_wakeups()  # the rest may still come
    proxy.cut()
    assert is_readable(intake)

    with pytest.raises(LeaseLostError, match="the server closed the connection"):
        intake.clear_wakeups()


def test_a_server_that_does_not_answer_is_given_up_after_the_timeout(
    broker: AmqpBroker, proxy: Proxy
) -> None:
    intake = broker.intake("a@host", ["mail"])
    publisher = broker.publisher()
    publisher.publish([message("first")])

    proxy.silence()

    with pytest.raises(LeaseLostError, match="does not answer"):
        intake.depth()
    with pytest.raises(BrokerError, match="does not answer"):
        publisher.publish([message("second")])


def test_a_claim_of_what_has_come_waits_for_no_answer(broker: AmqpBroker, proxy: Proxy) -> None:
    intake = broker.intake("a@host", ["mail"])
    assert intake.claim(8) == []
    broker.publisher().publish([message("here")])
    wait_until(lambda: proxy.has_passed(b"here\xce"))  # with the end of its frame

    proxy.silence()

    assert bodies(intake.claim(8)) == ["here"]


def test_what_comes_while_a_box_waits_for_an_answer_makes_it_readable(broker: AmqpBroker) -> None:
    broker.reply_box("replies", 60.0).close()
    broker.publisher().publish([message(str(number), queue="replies") for number in range(50)])

    box = broker.reply_box("replies", 60.0)

    found: list[str] = []
    while len(found) < 50:
        assert is_readable(box)
        found += bodies(box.receive())
    assert found == [str(number) for number in range(50)]


def test_a_message_that_cannot_be_sent_anew_becomes_a_dead_letter_with_the_reason(
    broker: AmqpBroker,
) -> None:
    intake = broker.intake("a@host", ["mail"])
    with Connection(broker.url) as client:  # as JSON, in which it would be put back, it is larger
        raw = Message(b"body", application_headers={"blob": b"\xff" * 120_000})
        client.default_channel.basic_publish_confirm(raw, routing_key="mail")
    held = first_claim(intake)

    assert intake.settle([Requeue(held.tag)]) == []

    (letter,) = broker.desk().dead_letters()
    assert "could not be sent anew" in letter.reason
