"""Requests and replies of remote control are exactly those of kombu's own pidbox."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kombu.connection import Connection
from kombu.entity import Exchange
from kombu.matcher import match
from kombu.messaging import Consumer, Producer
from kombu.pidbox import Mailbox as KombuMailbox

from taskd.base.errors import ProtocolError
from taskd.protocol import content, pidbox
from taskd.protocol.pidbox import ControlRequest, ReplyTo, decode_request, encode_reply, encode_reply_headers

NODE = "mail-1@host"
JSON = pidbox.CONTENT_TYPE


@pytest.fixture
def connection() -> Iterator[Connection]:
    with Connection("memory://") as connection:
        yield connection


@pytest.fixture
def mailbox(connection: Connection) -> KombuMailbox:
    return KombuMailbox("celery", type="fanout", connection=connection, accept=["json"], serializer="json")


def sent_by(mailbox: KombuMailbox, connection: Connection, **request: Any) -> Any:
    """Let kombu broadcast a request and return the message as a node's queue gets it."""
    received: list[Any] = []
    with Consumer(
        connection, [mailbox.get_queue(NODE)], no_ack=True, on_message=received.append, accept=["json"]
    ):
        mailbox._publish(**request)
        connection.drain_events(timeout=60)
    return received[0]


def decoded(message: Any) -> ControlRequest:
    body = message.body if isinstance(message.body, bytes) else message.body.encode()
    return decode_request(body, json.dumps(message.headers).encode(), message.content_type)


def test_a_request_of_kombu_is_read_with_every_field(mailbox: KombuMailbox, connection: Connection) -> None:
    message = sent_by(
        mailbox,
        connection,
        type="revoke",
        arguments={"task_id": ["a"], "terminate": True},
        destination=[NODE],
        reply_ticket="ticket-1",
        timeout=1,
        pattern="mail*",
        matcher="glob",
    )

    assert decoded(message) == ControlRequest(
        method="revoke",
        arguments={"task_id": ["a"], "terminate": True},
        destination=[NODE],
        pattern="mail*",
        matcher="glob",
        ticket="ticket-1",
        reply_to=ReplyTo(pidbox.REPLY_EXCHANGE, mailbox.oid),
        clock=1,
    )


def test_a_request_without_a_wish_for_a_reply_has_no_address(
    mailbox: KombuMailbox, connection: Connection
) -> None:
    request = decoded(sent_by(mailbox, connection, type="ping", arguments={}))

    assert request == ControlRequest(method="ping", arguments={}, clock=1)


def test_requests_travel_through_the_exchange_that_nodes_bind_to(mailbox: KombuMailbox) -> None:
    exchanges: list[Any] = [mailbox.exchange, mailbox.reply_exchange]
    assert [each.name for each in exchanges] == [pidbox.EXCHANGE, pidbox.REPLY_EXCHANGE]
    assert mailbox.get_queue(NODE).name == f"{NODE}.{pidbox.EXCHANGE}"


def test_a_reply_is_collected_by_kombu(mailbox: KombuMailbox, connection: Connection) -> None:
    ticket = "ticket-2"
    mailbox.reply_queue(connection.default_channel).declare()
    producer = Producer(connection, auto_declare=False)
    for answering_to in ("an earlier question", ticket):
        producer.publish(
            encode_reply(NODE, {"ok": "pong", "for": answering_to}),
            exchange=Exchange(pidbox.REPLY_EXCHANGE, type="direct", durable=False),
            routing_key=mailbox.oid,
            headers=json.loads(encode_reply_headers(answering_to, 41)),
            content_type=JSON,
            content_encoding="utf-8",
        )

    replies = mailbox._collect(ticket, limit=2, timeout=60)

    assert replies == [{NODE: {"ok": "pong", "for": ticket}}]
    assert mailbox.clock.value > 41


@given(
    node=st.text("ab@1-", max_size=6),
    pattern=st.text("ab@1-*?[]!", max_size=6),
    destination=st.none() | st.lists(st.text("ab@1-", max_size=6), max_size=2),
)
def test_a_node_is_concerned_exactly_when_kombu_says_so(
    node: str, pattern: str, destination: list[str] | None
) -> None:
    request = ControlRequest(method="ping", destination=destination, pattern=pattern, matcher="glob")

    ask: Any = match  # whose types say bytes
    kombu = node in destination if destination else ask(node, pattern, "glob") if pattern else True

    assert request.concerns(node) == kombu


@pytest.mark.parametrize(("pattern", "matcher"), [("(a+)+$", "pcre"), ("x", "soundex"), ("*" * 257, "glob")])
def test_a_pattern_that_is_not_accepted_or_too_long_is_refused(pattern: str, matcher: str) -> None:
    with pytest.raises(ProtocolError):
        ControlRequest(method="ping", pattern=pattern, matcher=matcher).concerns(NODE)


@pytest.mark.parametrize(
    ("body", "headers", "content_type"),
    [
        (b"", b"{}", JSON),
        (b"[]", b"{}", JSON),
        (b"{}", b"{}", JSON),
        (b'{"method": 1}', b"{}", JSON),
        (b'{"method": "ping", "arguments": []}', b"{}", JSON),
        (b'{"method": "ping", "destination": "mail"}', b"{}", JSON),
        (b'{"method": "ping", "reply_to": {"exchange": "x"}}', b"{}", JSON),
        (b'{"method": "ping"}', b"{}", "application/x-python-serialize"),
        (b'{"method": "ping"}', b'{"clock": "1"}', JSON),
        (b'{"method": "ping"}', b'{"clock": 1e300}', JSON),
        (b'{"method": "ping"}', b"[" * 100_000, JSON),
        (b"\xff\xfe", b"{}", JSON),
        (b"[" * 100_000, b"{}", JSON),
    ],
)
def test_what_is_no_request_is_refused(body: bytes, headers: bytes, content_type: str) -> None:
    with pytest.raises(ProtocolError):
        decode_request(body, headers, content_type)


def test_a_request_may_be_written_as_tasks_may(monkeypatch: pytest.MonkeyPatch) -> None:
    # Celery broadcasts by the serializer of its tasks.
    body = msgspec.msgpack.encode({"method": "ping", "destination": ["mail-1@host"]})
    with pytest.raises(ProtocolError, match='"msgpack" is not in accept_content'):
        decode_request(body, b"{}", "application/x-msgpack")

    monkeypatch.setattr(content, "_accepted", content.accepted_by(["json", "msgpack", "pickle"]))

    request = decode_request(body, b"{}", "application/x-msgpack")
    assert (request.method, request.destination) == ("ping", ["mail-1@host"])
    with pytest.raises(ProtocolError, match="is not a remote-control request"):
        decode_request(msgspec.msgpack.encode([1]), b"{}", "application/x-msgpack")
    with pytest.raises(ProtocolError, match="pickle"):
        decode_request(pickle.dumps({"method": "ping"}), b"{}", "application/x-python-serialize")


@given(st.binary(max_size=100), st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(body: bytes, headers: bytes) -> None:
    try:
        decode_request(body, headers, JSON)
    except ProtocolError:
        pass


def test_a_missing_clock_counts_as_zero() -> None:
    assert decode_request(b'{"method": "ping"}', b'{"clock": null}', JSON).clock == 0
    assert decode_request(b'{"method": "ping"}', b"", JSON).clock == 0
