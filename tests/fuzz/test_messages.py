"""What workers read of messages, and clients of results: each is read or refused with an error of ours."""

from __future__ import annotations

import json
import logging
import random
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest
from amqp.exceptions import UnexpectedFrame

from taskd import App
from taskd.base.errors import ProtocolError, SerializationError, TaskdError
from taskd.brokers.amqp.fields import read_properties
from taskd.brokers.amqp.frames import Inbox
from taskd.brokers.kombu import envelope as kombu
from taskd.brokers.redis import envelope as redis
from taskd.consumer.claiming import strategy
from taskd.consumer.settling import decided_ends
from taskd.execution.native.execute import Executor
from taskd.protocol import compression, events, execution, pidbox, status
from taskd.protocol.content import Serializer
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Reply, decode_reply
from taskd.protocol.message import decode_body
from taskd.protocol.protocol_1 import headers_from_body, is_protocol_1
from taskd.protocol.results import child_ids, decode_record, failure_record, success_record
from taskd.revocations.known import Revocations
from taskd.sending.options import TaskOptions
from tests import fuzzing

pytestmark = pytest.mark.slow

RECORDED = [
    json.loads(path.read_text())
    for path in sorted((Path(__file__).parents[1] / "data" / "producers").glob("*.json"))
]
ENVELOPES = [json.dumps(message["redis"]).encode() for message in RECORDED if "redis" in message]
HEADERS = [json.dumps(json.loads(each).get("headers") or {}).encode() for each in ENVELOPES]
BODIES = [redis.read(each, 1, b"q", "q", 0).delivery.body for each in ENVELOPES]
EMBED = {"callbacks": [{"task": "fuzz.any", "options": {"task_id": "a"}}], "chain": [{"task": "fuzz.any"}]}
BODIES += [json.dumps([[1], {"a": {"__type__": "datetime", "__value__": "2026-01-01"}}, EMBED]).encode()]
TASKS = {name: TaskOptions(name=name) for name in ("fuzz.any", "shop.add")}
READABLE = frozenset({Serializer.JSON, Serializer.MSGPACK, Serializer.YAML})

app = App(broker="memory://unused", results="null://")


@app.task(name="shop.add")
def add(*args: object, **kwargs: object) -> None:
    """Take whatever comes."""


execute = Executor(app, "fuzz@here", accepted=READABLE)


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


def carried_out(delivery: Delivery) -> None:
    """Do with a delivery what a worker does."""
    assert msgspec.msgpack.encode(delivery)
    if is_protocol_1(delivery.headers):
        try:
            headers = headers_from_body(delivery.headers, delivery.body, delivery.content_type)
            delivery = msgspec.structs.replace(delivery, headers=headers)
        except ProtocolError:
            pass
    match strategy.decide(delivery, TASKS, Revocations(), 1_800_000_000.0):
        case strategy.Malformed(reason, known):
            assert reason
            if known is not None:
                assert decode_record(decided_ends.malformed(known, reason).record).status == "FAILURE"
        case strategy.Runnable(headers=decoded):
            decided_ends.aftermath(decoded, delivery)
            assert isinstance(decode_reply(execute(execution.encode(execution.Assignment(delivery)))), Reply)


def test_envelopes_of_redis() -> None:
    def case(rng: random.Random) -> None:
        raw = fuzzing.mutated(rng, ENVELOPES)
        opened = redis.read(raw, 1, b"q", "q", 0)
        assert redis.returned(opened, deliveries=2, deaths=1) or not raw
        carried_out(opened.delivery)

    fuzzing.each_case(10_000, case)


def test_messages_of_kombus_transports() -> None:
    def case(rng: random.Random) -> None:
        try:
            headers = json.loads(fuzzing.mutated(rng, HEADERS))
        except (ValueError, RecursionError):
            headers = rng.choice(fuzzing.LIES)
        lie = rng.choice(fuzzing.LIES)
        message = SimpleNamespace(
            properties={rng.choice(("correlation_id", "reply_to", "priority", "message_id")): lie},
            content_type=rng.choice(("application/json", "application/x-msgpack", "", lie)),
            content_encoding=rng.choice(("utf-8", "binary", lie)),
            headers=headers,
            delivery_info=rng.choice((None, {"exchange": lie, "routing_key": "q"})),
            delivery_tag="1",
            body=fuzzing.mutated(rng, BODIES),
        )
        carried_out(kombu.opened(kombu.taken(message), 1, "q").delivery)

    fuzzing.each_case(10_000, case)


_PROPERTIES = (
    b"\xe0\x00\x10application/json\x05utf-8\x00\x00\x00\x1c\x04taskS\x00\x00\x00\x08shop.add\x02idS\x00\x00\x00\x011"
    b"\x00"
)


def test_properties_and_frames_of_amqp() -> None:
    def properties(rng: random.Random) -> None:
        frame = fuzzing.mutated(rng, [_PROPERTIES])
        try:
            read_properties(frame, 0, len(frame))
        except ProtocolError:
            pass

    def frames(rng: random.Random) -> None:
        inbox = Inbox(lambda arrived: carried_out(kombu.opened(arrived, 1, "q").delivery), lambda: None)
        deliver = b"\x00\x3c\x00\x3c\x01c" + bytes(8) + b"\x00\x00\x01q"
        header = b"\x00\x3c\x00\x00" + (2).to_bytes(8, "big") + _PROPERTIES
        for kind, right in ((1, deliver), (2, header), (3, b"[]")):
            payload = fuzzing.mutated(rng, [right]) if rng.random() < 0.5 else right
            try:
                inbox.take(kind, payload, 0, len(payload))
            except (ProtocolError, UnexpectedFrame):
                return

    fuzzing.each_case(10_000, properties)
    fuzzing.each_case(5_000, frames)


def test_bodies_in_every_serializer_and_compression() -> None:
    kinds = {
        "application/json": BODIES,
        "application/x-msgpack": [msgspec.msgpack.encode([[1, "a", b"\x90" * 9], {"k": [1.5, None]}, {}])],
        "application/x-yaml": [b"- [1, two]\n- {k: &a [1.5, ~]}\n- {callbacks: *a}\n"],
    }
    packed = [compression.packed(BODIES[0] * 50, name) for name in compression.NAMES]

    def case(rng: random.Random) -> None:
        content_type = rng.choice(tuple(kinds))
        body, packing = rng.choice(packed) if rng.random() < 0.2 else (rng.choice(kinds[content_type]), None)
        try:
            decode_body(fuzzing.mutated(rng, [body]), content_type, packing, READABLE)
        except SerializationError:
            pass

    fuzzing.each_case(20_000, case)


def test_records_as_clients_read_them() -> None:
    class Odd(Exception):
        pass

    error = Odd("a", 5)
    vars(error)["code"] = {"a": [1]}
    record = success_record("1", 1, done_at=0.0, children=["2"])
    ending = b'{"exc_type": "SystemExit", "exc_message": [1], "exc_module": "builtins"}'
    samples = [
        success_record("1", [1, {"a": "b"}], done_at=0.0, children=["2", "3"]),
        failure_record("1", error, done_at=0.0, traceback="line 7"),
        failure_record("1", OSError(2, "no", "/x"), done_at=0.0),
        record.replace(b'"SUCCESS","result":1', b'"SUCCESS", "result": NaN'),
        record.replace(b'"SUCCESS","result":1', b'"FAILURE", "result": ' + ending),
    ]

    def case(rng: random.Random) -> None:
        try:
            read = decode_record(fuzzing.mutated(rng, samples))
            assert isinstance(child_ids(read.children or ()), list)
            made = read.exception()
            assert made is None or isinstance(str(made), str)
            read.value()
        except TaskdError:
            pass

    fuzzing.each_case(20_000, case)


def test_remote_control_events_and_status_lines() -> None:
    headers, request = pidbox.encode_request(
        "ping", {"a": [1]}, clock=1, ticket="t", reply_to="r", expires_at=2.0
    )
    reply = pidbox.encode_reply("w@h", {"ok": "pong"})
    beat = b'{"type": "worker-heartbeat", "hostname": "w@h", "timestamp": 1.5, "clock": 3, "pid": 1}'
    several = b"[" + beat + b"," + beat + b"]"
    lines = [status.encode_line(each) for each in (status.Draining(3), status.LastWords("a", "b"))]

    def case(rng: random.Random) -> None:
        data = fuzzing.mutated(rng, [request, reply, headers])
        for read in (
            lambda: pidbox.decode_request(data, headers, "application/json"),
            lambda: pidbox.decode_request(request, data, "application/json"),
            lambda: pidbox.decode_reply(data, headers, "application/json"),
            lambda: status.decode_line(fuzzing.mutated(rng, lines)),
        ):
            try:
                read()
            except ProtocolError:
                pass
        events.decode(fuzzing.mutated(rng, [beat, several]), "application/json")

    fuzzing.each_case(10_000, case)
