"""Messages are put together from whatever pieces the socket brings; what cannot be a frame is an error."""

from __future__ import annotations

import struct
from types import SimpleNamespace
from typing import Any

import pytest
from amqp.basic_message import Message
from amqp.exceptions import UnexpectedFrame
from amqp.serialization import dumps
from hypothesis import given
from hypothesis import strategies as st

from taskd.brokers.amqp.frames import Reader
from taskd.brokers.kombu.envelope import Arrived

CONSUMING, OTHER = 1, 2
_DELIVER, _QOS_OK = (60, 60), (60, 11)


def frame(kind: int, channel: int, payload: bytes) -> bytes:
    return struct.pack(">BHI", kind, channel, len(payload)) + payload + b"\xce"


def method(signature: tuple[int, int], arguments: bytes = b"", channel: int = CONSUMING) -> bytes:
    return frame(1, channel, struct.pack(">HH", *signature) + arguments)


def header(size: int, properties: bytes, kind: int = 60) -> bytes:
    return frame(2, CONSUMING, struct.pack(">HHQ", kind, 0, size) + properties)


def delivery(body: bytes, parts: int = 1, *, tag: int = 7, **properties: Any) -> list[bytes]:
    """Return the frames of a message, its body in so many parts."""
    arguments = dumps("sLbss", ("taskd-1", tag, True, "an exchange", "a key"))
    step = max(1, -(-len(body) // parts))
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    return [
        method(_DELIVER, arguments),
        header(len(body), Message(b"", **properties)._serialize_properties()),
        *(frame(3, CONSUMING, piece) for piece in pieces),
    ]


class Connection:
    """What a reader needs of py-amqp's connection; it notes the frames that are handed over."""

    def __init__(self, frame_max: int = 131_072) -> None:
        self.transport = SimpleNamespace(_read_buffer=b"", sock=None)
        self.frame_max = frame_max
        self.bytes_recv = 0
        self.others: list[tuple[int, int, bytes]] = []
        self.messages: list[Arrived] = []
        self.reader = Reader(self)
        self.reader.deliver(SimpleNamespace(channel_id=CONSUMING), self.messages.append, lambda: None)

    def on_inbound_frame(self, found: tuple[int, int, bytes]) -> None:
        self.others.append(found)


@given(
    st.lists(st.tuples(st.binary(max_size=300), st.integers(1, 4)), max_size=6),
    st.lists(st.integers(1, 400)),
)
def test_messages_come_whole_whatever_pieces_the_socket_brings(
    bodies: list[tuple[bytes, int]], sizes: list[int]
) -> None:
    connection = Connection()
    stream = b""
    for number, (body, parts) in enumerate(bodies):
        frames = delivery(body, parts, tag=number, message_id=str(number))
        # A frame of another channel may come between any two.
        stream += method(_QOS_OK, channel=OTHER).join([*frames, b""])

    for size in [*sizes, len(stream) + 1]:
        piece, stream = stream[:size], stream[size:]
        if piece:
            connection.reader.feed(piece)

    assert [message.body for message in connection.messages] == [body for body, _ in bodies]
    assert [message.handle for message in connection.messages] == list(range(len(bodies)))
    assert [message.properties["message_id"] for message in connection.messages] == [
        str(number) for number in range(len(bodies))
    ]
    assert set(connection.others) <= {(1, OTHER, struct.pack(">HH", *_QOS_OK))}
    assert connection.bytes_recv == sum(len(delivery(body, parts)) for body, parts in bodies)


def test_a_message_says_where_it_came_from() -> None:
    connection = Connection()

    connection.reader.feed(b"".join(delivery(b"body", priority=3)))

    assert connection.messages == [
        Arrived("taskd-1", 7, True, "an exchange", "a key", {"priority": 3}, b"body")
    ]


def test_other_methods_of_the_channel_are_handed_over() -> None:
    connection = Connection()

    connection.reader.feed(method(_QOS_OK) + b"".join(delivery(b"x")))

    assert connection.others == [(1, CONSUMING, struct.pack(">HH", *_QOS_OK))]
    assert len(connection.messages) == 1


def test_a_message_whose_properties_cannot_be_read_comes_with_the_reason_and_the_bytes() -> None:
    connection = Connection()
    frames = delivery(b"body")
    frames[1] = header(4, b"\x20\x00\x00\x00\x00\x03\x01kZ")

    connection.reader.feed(b"".join(frames))

    (message,) = connection.messages
    assert (message.properties, message.body) == ({}, b"body")
    assert message.unreadable.startswith(b"a value has the unknown type 'Z'")
    assert message.unreadable.endswith(b"\x01kZ")


def test_what_a_handler_waits_for_is_read_after_its_own_frame() -> None:
    connection = Connection()
    order: list[int] = []

    def on_frame(found: tuple[int, int, bytes]) -> None:
        order.append(found[1])
        if found[1] == 3:
            connection.reader.feed(method(_QOS_OK, channel=6))  # it reads on by itself

    connection.on_inbound_frame = on_frame  # type: ignore[method-assign]
    connection.reader.feed(b"".join(method(_QOS_OK, channel=number) for number in (2, 3, 4, 5)))

    assert order == [2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("garbage", "reason"),
    [
        (method(_QOS_OK)[:-1] + b"\x00", "does not end where it should"),
        (struct.pack(">BHI", 1, 1, 2**32 - 1) + b"xx", "4294967295 bytes"),
        (method(_DELIVER, b"\xffshort"), "ends too soon"),
        (method(_DELIVER, dumps("sLbss", ("c", 1, False, "", "")) + b"more"), "does not end with its frame"),
        (delivery(b"x")[0] + delivery(b"x")[0], "before the last one has ended"),
        (delivery(b"x")[0] + frame(2, CONSUMING, b"short"), "too short"),
        (delivery(b"x")[0] + header(1, b"\x00\x00", kind=50), "class 50"),
        (b"".join(delivery(b"abc")[:2]) + frame(3, CONSUMING, b"abcd"), "longer than its header says"),
    ],
)
def test_garbage_is_an_error_that_says_what_is_wrong(garbage: bytes, reason: str) -> None:
    connection = Connection()

    with pytest.raises(UnexpectedFrame, match=reason):
        connection.reader.feed(garbage)


@given(st.binary(min_size=1, max_size=300))
def test_any_bytes_are_frames_or_an_error(raw: bytes) -> None:
    connection = Connection(frame_max=4096)
    try:
        connection.reader.feed(raw)
    except UnexpectedFrame:
        return


def test_an_error_of_py_amqps_own_reading_is_one_of_the_connection() -> None:
    connection = Connection()

    def fail(_found: object) -> None:
        raise KeyError(77)  # as for a channel that does not exist

    connection.on_inbound_frame = fail  # type: ignore[method-assign, assignment]

    with pytest.raises(UnexpectedFrame, match="77"):
        connection.reader.feed(method(_QOS_OK, channel=77))
