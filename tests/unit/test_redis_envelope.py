"""What lies on a list of Redis becomes a delivery that can be passed on, whatever it is."""

from __future__ import annotations

import json

import msgspec
import pytest

from taskd.brokers.redis.envelope import read
from tests import fuzzing


@pytest.mark.parametrize(
    "field", ["content-type", "content-encoding", "headers", "properties", "body", "other"]
)
@pytest.mark.parametrize("lie", fuzzing.LIES, ids=range(len(fuzzing.LIES)))
def test_a_lie_in_any_field_leaves_a_delivery_that_can_be_encoded(field: str, lie: object) -> None:
    raw = fuzzing.encoded({"headers": {"id": "1"}, "properties": {}, field: lie}, escaped=True)

    assert msgspec.msgpack.encode(read(raw, 1, b"mail", "mail", 0).delivery)


@pytest.mark.parametrize(
    "name", ["correlation_id", "reply_to", "delivery_info", "priority", "taskd", "taskd_once"]
)
@pytest.mark.parametrize("lie", fuzzing.LIES, ids=range(len(fuzzing.LIES)))
def test_a_lie_in_any_property_leaves_a_delivery_that_can_be_encoded(name: str, lie: object) -> None:
    for value in (lie, {"exchange": lie, "routing_key": lie}, [lie, lie]):
        raw = fuzzing.encoded({"headers": {"id": "1"}, "properties": {name: value}}, escaped=True)

        assert msgspec.msgpack.encode(read(raw, 1, b"mail", "mail", 0).delivery)


def test_text_that_is_no_envelope_is_kept_as_it_is() -> None:
    for raw in (b"", b"\xff\x00", b"[]", b"null", json.dumps("text").encode(), fuzzing.DEEP):
        delivery = read(raw, 1, b"mail", "mail", 0).delivery

        assert (delivery.headers, delivery.body) == (b"", raw)
