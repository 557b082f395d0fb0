"""Garbage straight into a queue of RabbitMQ, as anybody with the password can put it there."""

from __future__ import annotations

import json
import random
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing

import pytest
from amqp.basic_message import Message
from amqp.exceptions import FrameSyntaxError
from amqp.serialization import dumps
from hypothesis import HealthCheck, given, seed, settings
from kombu.connection import Connection

from taskd.base import clock
from taskd.base.errors import ProtocolError
from taskd.brokers.amqp.fields import read_properties
from taskd.brokers.kombu.envelope import DEATHS, DELIVERIES, DUE_AT, Arrived, opened
from tests import fuzzing, services
from tests.system.daemon import Daemon
from tests.system.fuzz_fates import HEAD, fate
from tests.waiting import wait_until

DRAWN = 300
GOOD = {"lang": "py", "task": "fuzz.any", "id": "good"}
BODY = b"[[], {}, {}]"
#: The properties as they go over the wire, and the body.
Raw = tuple[bytes, bytes]


def written(body: bytes = BODY, **properties: object) -> Iterator[Raw]:
    """Yield a message if py-amqp can write it."""
    properties = {"content_type": "application/json", "content_encoding": "utf-8", **properties}
    try:
        yield Message(b"", **properties)._serialize_properties(), body
    except (struct.error, TypeError, AttributeError, FrameSyntaxError, RecursionError):
        return


def lying() -> Iterator[Raw]:
    """Yield one message for each lie in each of its properties and headers."""
    for lie in fuzzing.LIES:
        for name in (
            "content_type",
            "content_encoding",
            "correlation_id",
            "reply_to",
            "message_id",
            "priority",
        ):
            yield from written(BODY, application_headers=GOOD, **{name: lie})
        for name in ("task", "id", "eta", "expires", "retries", "timelimit", DUE_AT, DELIVERIES, DEATHS):
            yield from written(application_headers={**GOOD, name: lie})
        yield from written(fuzzing.encoded(lie, escaped=True), application_headers=GOOD)
    yield from written()
    yield from written(b"\xff" * 5_000_000, application_headers=GOOD)


def strange() -> Iterator[Raw]:
    """Yield tables with a field that no client in Python writes, and that RabbitMQ lets pass."""
    good = dumps("F", (GOOD,))[4:]
    nested = [b"V"]
    for _ in range(200):
        nested.append(b"A" + struct.pack(">I", len(nested[-1])) + nested[-1])
    fields = [
        *(b"\x01kT" + raw for raw in (b"\xff" * 8, b"\x00" * 8)),
        b"\x01kD\xff" + b"\xff" * 4,
        b"\x01kx\x00\x00\x00\x02\xff\xfe",
        b"\x01kS\x00\x00\x00\x02\xff\xfe",
        b"\x04taskx\x00\x00\x00\x02ab",
        b"\x04taskT" + b"\xff" * 8,
        b"\x03etaT" + b"\xff" * 8,
        b"\x01\xffV" * 2,
        b"\xff" + b"\xfe" * 255 + b"V",
        *(b"\x01k" + nested[depth] for depth in (50, 70, 200)),
    ]
    for field in fields:
        table = good + field
        yield b"\x20\x00" + struct.pack(">I", len(table)) + table, BODY


def drawn(number: int) -> list[Raw]:
    """Return what Hypothesis draws from the seed ``number``."""
    made: list[Raw] = []

    @seed(number)
    @settings(max_examples=DRAWN, suppress_health_check=list(HealthCheck))
    @given(fuzzing.headers(), fuzzing.bodies(), fuzzing.content_types)
    def draw(headers: bytes, body: bytes, kind: tuple[str, str]) -> None:
        try:
            table = json.loads(headers)
        except (ValueError, RecursionError):
            table = {"text": headers}
        table = table if isinstance(table, dict) else {"value": table}
        made.extend(written(body, application_headers=table, content_type=kind[0], content_encoding=kind[1]))

    draw()
    return made


def is_let_pass(raw: Raw) -> bool:
    """Return whether RabbitMQ lets a message pass: it closes the connection over NaN and infinity."""
    try:
        return re.search(r"\b(nan|inf)\b", repr(read_properties(raw[0], 0, len(raw[0])))) is None
    except ProtocolError:
        return True


def expected(raw: Raw) -> str:
    """Return what must become of a message."""
    properties, body = raw
    try:
        arrived = Arrived("", 1, False, "", "default", read_properties(properties, 0, len(properties)), body)
    except ProtocolError:
        return "dead"
    message = opened(arrived, 1, "default")
    if message.due_at > clock.now():
        return "delayed"
    return fate(message.delivery)


def publish(url: str, messages: list[Raw]) -> None:
    """Put messages into the queue as they are; return when the server has them all."""
    with Connection(url) as client:
        channel = client.default_channel
        channel.confirm_select()
        confirmed: list[int] = []
        channel.events["basic_ack"].add(lambda tag, _multiple: confirmed.append(tag))
        method = struct.pack(">HH", 60, 40) + dumps("Bssbb", (0, "", "default", False, False))
        for properties, body in messages:
            header = struct.pack(">HHQ", 60, 0, len(body)) + properties
            pieces = [body[at : at + 100_000] for at in range(0, len(body), 100_000)]
            for kind, payload in ((1, method), (2, header), *((3, piece) for piece in pieces)):
                head = struct.pack(">BHI", kind, channel.channel_id, len(payload))
                client.connection.transport.write(head + payload + b"\xce")
        while max(confirmed, default=0) < len(messages):
            client.drain_events(timeout=60)


def unacknowledged(url: str) -> int:
    """Return how many messages of the default queue a worker holds."""
    host = url.rpartition("/")[2]
    words = ("name", "messages_unacknowledged", "--formatter", "json")
    rows = json.loads(services.rabbit_server().control("list_queues", "--vhost", host, *words))
    return next(int(row["messages_unacknowledged"]) for row in rows if row["name"] == "default")


@pytest.mark.slow
def test_garbage_in_a_queue_ends_with_reasons_and_leaves_the_worker_unharmed(
    make_daemon: Callable[..., Daemon],
) -> None:
    number = random.randrange(2**32)
    messages = list(filter(is_let_pass, [*lying(), *strange(), *drawn(number)]))
    fates = Counter(map(expected, messages))
    url = services.rabbit_url()
    daemon = make_daemon(
        '[worker.main]\npool = "prefork"\nconcurrency = 2\n', head=HEAD.replace("sqlite://broker.db", url)
    )
    daemon.start()
    pid = daemon.pid_of("main-1")

    publish(url, messages)
    with closing(daemon.broker()) as broker:
        desk = broker.desk()
        most = fates["delayed"] + fates["any"]
        wait_until(lambda: desk.queues()[0].ready == 0, 40, f"an empty queue, seed={number}")
        wait_until(lambda: unacknowledged(url) <= most, 40, f"settling, seed={number} {fates}")
        letters = desk.dead_letters(limit=10 * len(messages))

    assert all(letter.reason for letter in letters)
    assert fates["dead"] <= len(letters) <= fates["dead"] + fates["any"], f"seed={number} {fates}"
    assert fates["delayed"] <= unacknowledged(url), f"seed={number} {fates}"
    assert len(letters) > 100, f"seed={number}: that was no fuzz"
    assert daemon.app.send_task("fuzz.length", ("good",)).get(timeout=60) == 4
    assert daemon.pid_of("main-1") == pid, f"seed={number}"
