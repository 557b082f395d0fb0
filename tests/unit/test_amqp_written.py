"""A message is written as py-amqp writes it; what AMQP has no room for is refused."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from amqp import spec
from amqp.basic_message import Message
from amqp.method_framing import frame_writer
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from taskd.base.errors import BrokerError
from taskd.brokers.amqp.written import frames, refusal
from taskd.brokers.kombu.envelope import Sealed

FRAME_MAX = 4096
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)
_short = st.text(max_size=60)
_sealed = st.builds(
    Sealed,
    exchange=_short,
    routing_key=_short,
    body=st.binary(max_size=3 * FRAME_MAX),
    headers=st.dictionaries(st.text(max_size=20), _json, max_size=6),
    properties=st.fixed_dictionaries(
        {"delivery_mode": st.integers(1, 2)},
        optional={
            "content_type": _short,
            "content_encoding": _short,
            "priority": st.integers(0, 9),
            "correlation_id": _short,
            "reply_to": _short,
            "message_id": _short,
        },
    ),
)


def as_py_amqp(message: Sealed, *, mandatory: bool) -> bytes:
    """Return what py-amqp sends."""
    sent: list[bytes] = []
    transport = SimpleNamespace(write=lambda data: sent.append(bytes(data)))
    raw = Message(message.body, application_headers=message.headers, **message.properties)
    arguments = dumps("Bssbb", (0, message.exchange, message.routing_key, mandatory, False))
    write = frame_writer(SimpleNamespace(frame_max=FRAME_MAX, bytes_sent=0), transport)
    write(1, 7, spec.Basic.Publish, arguments, raw)
    return b"".join(sent)


@given(_sealed, st.booleans())
def test_the_frames_are_those_of_py_amqp(message: Sealed, mandatory: bool) -> None:
    expected = as_py_amqp(message, mandatory=mandatory)

    assert b"".join(frames(7, message, mandatory=mandatory, frame_max=FRAME_MAX)) == expected


def sealed(**parts: Any) -> Sealed:
    return Sealed(
        **{"exchange": "", "routing_key": "q", "body": b"", "headers": {}, "properties": {}, **parts}
    )


@pytest.mark.parametrize(
    "message",
    [
        sealed(headers={"a": 2**63}),
        sealed(headers={"a" * 256: 1}),
        sealed(headers={"a": "x" * FRAME_MAX}),
        sealed(properties={"correlation_id": "x" * 256}),
        sealed(routing_key="x" * 256),
        sealed(headers={"a": object()}),
        sealed(headers={"a": [float("nan")]}),
        sealed(headers={"a": float("inf")}),
        sealed(properties={"priority": 256}),
    ],
)
def test_what_amqp_has_no_room_for_is_refused(message: Sealed) -> None:
    with pytest.raises(BrokerError, match="AMQP cannot carry this message"):
        frames(1, message, mandatory=False, frame_max=FRAME_MAX)
    assert "AMQP cannot carry this message" in refusal(message, FRAME_MAX)


def test_a_table_that_is_nested_for_ever_is_refused() -> None:
    value: object = []
    for _ in range(5000):
        value = [value]

    assert "AMQP cannot carry" in refusal(sealed(headers={"a": value}), FRAME_MAX)


def test_a_message_of_nothing_is_carried() -> None:
    assert refusal(sealed(), FRAME_MAX) == ""
