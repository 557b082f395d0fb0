"""The properties of an AMQP message are read as py-amqp writes them, and anything else has a value too."""

from __future__ import annotations

import struct
from datetime import datetime, timezone
from decimal import Decimal
from typing import Any

import pytest
from amqp.basic_message import Message
from hypothesis import given
from hypothesis import strategies as st

from taskd.base.errors import ProtocolError
from taskd.brokers.amqp.fields import read_properties

_seconds = st.integers(0, 253_402_300_799)
_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.sampled_from(["\ud800", "x" * 70_000])
    | st.binary().filter(lambda raw: not _is_text(raw))
    | st.builds(
        lambda digits, places: Decimal(digits).scaleb(-places), st.integers(0, 2**31 - 1), st.integers(0, 9)
    )
    | _seconds.map(lambda at: datetime.fromtimestamp(at, timezone.utc).replace(tzinfo=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=20,
)
_short = st.text(max_size=60)
_properties = st.fixed_dictionaries(
    {},
    optional={
        "content_type": _short,
        "content_encoding": _short,
        "application_headers": st.dictionaries(st.text(max_size=60), _values, max_size=8),
        "delivery_mode": st.integers(0, 255),
        "priority": st.integers(0, 255),
        "correlation_id": _short,
        "reply_to": _short,
        "expiration": _short,
        "message_id": _short,
        "timestamp": st.integers(0, 2**64 - 1),
        "type": _short,
        "user_id": _short,
        "app_id": _short,
        "cluster_id": _short,
    },
)


def _is_text(raw: bytes) -> bool:
    try:
        raw.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return False
    return True


def written(**properties: Any) -> bytes:
    """Return properties as py-amqp writes them."""
    raw: bytes = Message(b"", **properties)._serialize_properties()
    return raw


def with_field(field: bytes) -> bytes:
    """Return properties with a table of one field."""
    return b"\x20\x00" + struct.pack(">I", len(field)) + field


def read(raw: bytes) -> dict[str, Any]:
    """Read properties that lie somewhere in a buffer."""
    return read_properties(b"before" + raw + b"after", 6, 6 + len(raw))


@given(_properties)
def test_what_py_amqp_writes_is_read_as_it_was(properties: dict[str, Any]) -> None:
    assert read(written(**properties)) == properties


@given(_properties, st.data())
def test_properties_that_end_too_soon_are_refused(properties: dict[str, Any], data: st.DataObject) -> None:
    raw = written(**properties)
    cut = data.draw(st.integers(0, len(raw) - 1))

    with pytest.raises(ProtocolError):
        read_properties(raw[:cut], 0, cut)
    with pytest.raises(ProtocolError):
        read_properties(raw, 0, cut)  # more lies in the buffer


@given(st.binary(max_size=200))
def test_any_bytes_are_properties_or_refused(raw: bytes) -> None:
    try:
        read(raw)
    except ProtocolError:
        return


@given(_properties, st.data())
def test_properties_with_a_wrong_byte_are_read_or_refused(
    properties: dict[str, Any], data: st.DataObject
) -> None:
    raw = bytearray(written(**properties))
    raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    try:
        read(bytes(raw))
    except ProtocolError:
        return


@pytest.mark.parametrize(
    ("kind", "raw", "value"),
    [
        ("b", b"\xff", -1),
        ("B", b"\xff", 255),
        ("s", b"\xff\xfe", -2),
        ("U", b"\xff\xfe", -2),
        ("u", b"\xff\xfe", 65534),
        ("I", b"\xff\xff\xff\xfe", -2),
        ("i", b"\xff\xff\xff\xfe", 2**32 - 2),
        ("l", b"\xff" * 7 + b"\xfe", -2),
        ("L", b"\xff" * 7 + b"\xfe", -2),
        ("f", struct.pack(">f", 0.5), 0.5),
        ("d", struct.pack(">d", -0.25), -0.25),
        ("t", b"\x00", False),
        ("t", b"\x02", True),
        ("D", b"\x02" + struct.pack(">i", -314), Decimal("-3.14")),
        ("D", b"\xff" + struct.pack(">i", 1), Decimal("1e-255")),
        ("T", struct.pack(">Q", 86_400), datetime.fromisoformat("1970-01-02")),
        ("T", b"\xff" * 8, 2**64 - 1),
        ("S", b"\x00\x00\x00\x02\xff\xfe", b"\xff\xfe"),
        ("x", b"\x00\x00\x00\x02ab", b"ab"),
        ("V", b"", None),
        ("A", b"\x00\x00\x00\x02VV", [None, None]),
        ("F", b"\x00\x00\x00\x03\x01aV", {"a": None}),
    ],
)
def test_each_type_that_rabbitmq_lets_pass_has_a_value(kind: str, raw: bytes, value: object) -> None:
    assert read(with_field(b"\x01k" + kind.encode() + raw)) == {"application_headers": {"k": value}}


def test_of_a_name_or_property_that_is_no_text_the_text_remains() -> None:
    assert read(with_field(b"\x02\xffkV"))["application_headers"] == {"k": None}
    assert read(b"\x80\x00\x02\xffk")["content_type"] == "k"


@pytest.mark.parametrize(
    ("field", "reason"),
    [
        (b"\x01kZ", "unknown type 'Z'"),
        (b"\x01kS\x00\x00\x00\x09abc", "longer than the table"),
        (b"\x01kA\x00\x00\x00\x01S", "longer than the table"),
        (b"\x01kI\x00", "longer than the table"),
    ],
)
def test_a_table_that_nobody_writes_is_refused_with_the_reason(field: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        read(with_field(field))


def test_a_bomb_of_nested_tables_is_refused() -> None:
    field = b"V"
    for _ in range(5000):
        field = b"A" + struct.pack(">I", len(field)) + field

    with pytest.raises(ProtocolError, match="nested deeper"):
        read(with_field(b"\x01k" + field))
