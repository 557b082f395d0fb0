"""The delivery goes from the worker to the executor as the broker gave it."""

from __future__ import annotations

from hypothesis import given, settings

from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, decode_assignment, encode
from tests import fuzzing

BODY = b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


@settings(max_examples=fuzzing.times(200))
@given(fuzzing.headers())
def test_whatever_the_headers_say_the_delivery_arrives_as_it_is(headers: bytes) -> None:
    delivery = Delivery(
        7, "mail", "i", headers, BODY, priority=4, deliveries=2, properties=b'{"app_id": "x"}'
    )

    assert decode_assignment(encode(Assignment(delivery))).delivery == delivery


def test_a_message_that_is_sent_again_goes_to_its_queue_alone() -> None:
    delivery = Delivery(
        7,
        "mail",
        "i",
        b"{}",
        BODY,
        priority=4,
        deaths=2,
        reply_to="box",
        exchange="all",
        routing_key="mail.#",
    )

    again = delivery.again()

    assert (again.exchange, again.routing_key, again.due_at) == ("", "mail", None)
    assert (again.task_id, again.priority, again.reply_to) == ("i", 4, "box")
