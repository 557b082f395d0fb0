"""What every broker promises about claims: which messages a worker gets, in which order."""

from __future__ import annotations

from taskd.brokers.base import Broker
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Outgoing
from tests.contract.brokers import (
    as_object,
    bodies,
    is_readable,
    message,
    needs,
    send,
    urgent,
)


def test_a_message_arrives_with_everything_it_was_sent_with(broker: Broker) -> None:
    sent = Outgoing(
        routing_key="mail",
        headers=b'{"task": "t", "id": "1"}',
        body=b"\x00\xff raw",
        task_id="1",
        content_type="application/x-msgpack",
        content_encoding="binary",
        priority=4,
        reply_to="there",
        correlation_id="c",
        properties=b'{"app_id": "shop"}',
    )
    send(broker, sent)
    intake = broker.intake("w", ["mail"])

    (got,) = intake.claim(10)

    assert as_object(got.headers) == as_object(sent.headers)
    assert (got.body, got.task_id, got.queue) == (sent.body, "1", "mail")
    assert (got.content_type, got.content_encoding) == ("application/x-msgpack", "binary")
    assert (got.priority, got.reply_to, got.correlation_id) == (4, "there", "c")
    assert (got.exchange, got.routing_key) == ("", "mail")
    assert (got.deliveries, got.deaths) == (1, 0)
    assert as_object(got.properties or b"") == as_object(sent.properties or b"")


def test_an_empty_queue_gives_nothing(broker: Broker) -> None:
    assert list(broker.intake("w", ["mail"]).claim(10)) == []


def test_a_claim_of_zero_takes_nothing(broker: Broker) -> None:
    send(broker, message())
    intake = broker.intake("w", ["mail"])

    assert list(intake.claim(0)) == []
    assert intake.depth() == 1


def test_messages_come_in_the_order_in_which_they_were_sent(broker: Broker) -> None:
    needs(broker, BrokerCan.FIFO)
    send(broker, *[message(str(number)) for number in range(20)])
    intake = broker.intake("w", ["mail"])

    assert bodies(intake.claim(15)) == [str(number) for number in range(15)]
    assert bodies(intake.claim(15)) == [str(number) for number in range(15, 20)]


def test_the_most_urgent_priority_comes_first_over_all_queues(broker: Broker) -> None:
    needs(broker, BrokerCan.PRIORITIES)
    high, middle, low = urgent(broker)
    send(
        broker,
        message("low", "a", priority=low),
        message("high", "a", priority=high),
        message("middle", "a", priority=middle),
        message("late high", "b", priority=high),
    )

    assert bodies(broker.intake("w", ["a", "b"]).claim(10)) == ["high", "late high", "middle", "low"]


def test_a_batch_over_several_queues_leaves_the_rest_claimable(broker: Broker) -> None:
    needs(broker, BrokerCan.ORDER)
    high, _, low = urgent(broker)
    send(broker, *[message(str(n), "abc"[n % 3], priority=high if n % 2 else low) for n in range(30)])
    intake = broker.intake("w", ["a", "b", "c"])

    claimed = [int(body) for _ in range(10) for body in bodies(intake.claim(4))]

    # Between queues of one priority the order is the broker's; within one it is that of arrival.
    for first, rest in ((1, claimed[:15]), (0, claimed[15:])):
        assert sorted(rest) == list(range(first, 30, 2))
        assert all(
            [n for n in rest if n % 3 == queue] == sorted(n for n in rest if n % 3 == queue)
            for queue in range(3)
        )


def test_only_the_named_queues_are_claimed_from(broker: Broker) -> None:
    send(broker, message("mine", "a"), message("other", "b"))

    assert bodies(broker.intake("w", ["a"]).claim(10)) == ["mine"]


def test_a_priority_beyond_the_range_counts_as_its_end(broker: Broker) -> None:
    send(broker, message("nine", priority=9), message("beyond", priority=99), message("below", priority=-5))

    assert sorted(delivery.priority for delivery in broker.intake("w", ["mail"]).claim(10)) == [0, 9, 9]


def test_a_claimed_message_is_not_handed_out_again(broker: Broker) -> None:
    send(broker, message())
    broker.intake("one", ["mail"]).claim(1)

    assert list(broker.intake("two", ["mail"]).claim(10)) == []


def test_queues_are_added_and_cancelled_at_run_time(broker: Broker) -> None:
    intake = broker.intake("w", ["a"])
    send(broker, message("in b", "b"))

    intake.add_queue("b")
    assert tuple(intake.queues()) == ("a", "b")
    assert is_readable(intake)
    assert bodies(intake.claim(1)) == ["in b"]
    intake.cancel_queue("b")
    send(broker, message("also in b", "b"), message("in a", "a"))

    assert bodies(intake.claim(10)) == ["in a"]
    assert tuple(intake.queues()) == ("a",)


def test_an_intake_without_queues_claims_nothing(broker: Broker) -> None:
    intake = broker.intake("w", ["a"])
    intake.cancel_queue("a")

    assert list(intake.claim(5)) == []
    assert (intake.depth(), intake.next_due_at(), list(intake.scheduled(5))) == (0, None, [])
