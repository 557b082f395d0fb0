"""Whatever stands in a message of AMQP becomes a delivery that can be passed on and kept as a dead letter."""

from __future__ import annotations

import json
import struct

import pytest
from amqp.basic_message import Message
from amqp.exceptions import FrameSyntaxError

from taskd.base.safe_text import storable
from taskd.brokers.amqp.fields import read_properties
from taskd.brokers.kombu.envelope import Arrived, again, opened
from taskd.brokers.kombu.letters import park, unfold
from taskd.protocol.execution import Assignment, decode_assignment, encode
from tests import fuzzing

HEADERS = ("id", "task", "x-taskd-due-at", "x-taskd-deaths", "x-delivery-count", "other")
PROPERTIES = ("content_type", "content_encoding", "correlation_id", "reply_to", "message_id", "priority")


def written(**properties: object) -> bytes | None:
    """Return properties as py-amqp writes them; None for what it cannot."""
    try:
        raw: bytes = Message(b"body", **properties)._serialize_properties()
    except (struct.error, TypeError, AttributeError, FrameSyntaxError):
        return None
    return raw


LYING_HEADERS = {
    f"{name}-{number}": raw
    for name in HEADERS
    for number, lie in enumerate(fuzzing.LIES)
    if (raw := written(application_headers={name: lie})) is not None
}
LYING_PROPERTIES = {
    f"{name}-{number}": raw
    for name in PROPERTIES
    for number, lie in enumerate(fuzzing.LIES)
    if (raw := written(**{name: lie})) is not None
}


def assert_passes_on(raw: bytes) -> None:
    properties = read_properties(raw, 0, len(raw))
    message = opened(Arrived("consumer", 1, False, "", "mail", properties, b"body"), 7, "mail")

    json.loads(message.delivery.headers)
    assert again(message, deliveries=1, deaths=0).body == b"body"
    letter = unfold(park(message.delivery, "a reason", b"{}", 1.0).body)
    assert (letter.delivery.body, letter.delivery.headers) == (b"body", message.delivery.headers)
    assert letter.shown().task_id == storable(message.delivery.task_id)


@pytest.mark.parametrize("raw", LYING_HEADERS.values(), ids=LYING_HEADERS)
def test_a_lie_in_any_header_leaves_a_delivery_that_can_be_passed_on(raw: bytes) -> None:
    assert_passes_on(raw)


@pytest.mark.parametrize("raw", LYING_PROPERTIES.values(), ids=LYING_PROPERTIES)
def test_a_lie_in_any_property_leaves_a_delivery_that_can_be_passed_on(raw: bytes) -> None:
    assert_passes_on(raw)


def test_properties_that_cannot_be_read_stand_as_headers_that_are_no_json() -> None:
    message = opened(Arrived("consumer", 1, False, "", "mail", {}, b"body", b"the reason: \xff"), 7, "mail")

    assert message.delivery.headers == b"the reason: \xff"
    letter = unfold(park(message.delivery, "a reason", b"{}", 1.0).body)
    assert letter.delivery.headers == b"the reason: \xff"


def test_a_priority_that_is_a_truth_value_is_a_number_for_the_pool() -> None:
    message = opened(Arrived("consumer", 1, False, "", "mail", {"priority": True}, b"body"), 7, "mail")

    assert decode_assignment(encode(Assignment(message.delivery))).delivery == message.delivery
