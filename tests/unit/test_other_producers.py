"""Messages as producers of other languages write them; each file says where its message is from."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from taskd import App
from taskd.brokers.kombu import envelope as kombu
from taskd.brokers.redis import envelope as redis
from taskd.consumer.claiming.strategy import Malformed, Runnable, decide
from taskd.execution.native.execute import Executor
from taskd.protocol import execution
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import End, decode_reply
from taskd.protocol.message import TaskHeaders
from taskd.protocol.protocol_1 import headers_from_body, is_protocol_1
from taskd.protocol.results import decode_record
from taskd.revocations.known import Revocations
from taskd.sending.options import TaskOptions
from taskd.sending.request import Request

NOW_AT = 1_800_000_000.0
RECORDED = sorted((Path(__file__).parents[1] / "data" / "producers").glob("*.json"))
app = App(broker="memory://unused", results="null://")


@app.task(name="shop.add")
def add(x: int, y: int) -> int:
    return x + y


TASKS = {"shop.add": TaskOptions(name="shop.add")}
execute = Executor(app, "w@here")


def delivered(message: dict[str, Any]) -> Delivery:
    if "redis" in message:
        raw = json.dumps(message["redis"]).encode()
        return redis.read(raw, 1, b"celery", "celery", 0).delivery
    amqp = message["amqp"]
    kept = amqp["properties"]
    raw_message = SimpleNamespace(
        properties={name: value for name, value in kept.items() if not name.startswith("content")},
        content_type=kept["content_type"],
        content_encoding=kept["content_encoding"],
        headers=dict(amqp["headers"]),
        delivery_info={"exchange": "", "routing_key": "celery"},
        delivery_tag=1,
        body=amqp["body"],
    )
    return kombu.opened(kombu.taken(raw_message), 1, "celery").delivery


def ran(delivery: Delivery) -> object:
    """Return what the task returns when the message is run as a worker would."""
    if is_protocol_1(delivery.headers):
        headers = headers_from_body(delivery.headers, delivery.body, delivery.content_type)
        delivery = msgspec.structs.replace(delivery, headers=headers)
    verdict = decide(delivery, TASKS, Revocations(), NOW_AT)
    assert isinstance(verdict, Runnable), verdict
    reply = decode_reply(execute(execution.encode(execution.Assignment(delivery))))
    assert reply.end is End.SUCCEEDED, reply
    record = decode_record(reply.record)
    assert record.task_id == verdict.headers.id
    return record.task_id, record.value()


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_a_message_of_another_languages_producer_runs(path: Path) -> None:
    message = json.loads(path.read_text())

    assert message["origin"]
    assert ran(delivered(message)) == (message["task_id"], add(*message["args"], **message["kwargs"]))


BODY = b"[[1, 2], {}, null]"


def plain(headers: object, body: bytes = BODY, encoding: str = "utf-8", correlation_id: str = "") -> Delivery:
    data = json.dumps(headers).encode()
    return Delivery(1, "q", "", data, body, "application/json", encoding, 0, 1, 0, "", correlation_id, "", "")


@pytest.mark.parametrize(
    "odd",
    [
        {"retries": None},
        {"retries": "0"},
        {"retries": 0.0},
        {"retries": False},
        {"timelimit": []},
        {"timelimit": {}},
        {"timelimit": ["30", None]},
        {"replaced_task_nesting": None},
        {"expires": "2199-01-01"},
        {"expires": "2199-01-01T10:30"},
        {"expires": "2199-01-01T10:30Z"},
        {"expires": "21990101T103000,5+0200"},
        {"expires": "2199-01-01 10:30:00.123456789z"},
        {"expires": "2199-01-01T24:00:00"},
        {"expires": {"__type__": "datetime", "__value__": "2199-01-01T00:00:00"}},
        {"expires": "9999-12-31T23:59:59-23:59"},
        {"eta": ""},
        {"eta": "2014-12-02"},
        {"ignore_result": 0},
        {"ignore_result": "false"},
        {"stamps": []},
        {"stamped_headers": {}},
        {"stamped_headers": "tenant"},
        {"argsrepr": [1, 2], "kwargsrepr": {}},
        {"group": 17, "group_index": "3"},
        {"root_id": 17, "parent_id": []},
        {"shadow": 5, "origin": {}},
        {"lang": None, "compression": ""},
        {"id": 5},
        {"stamps": {"a": float("nan")}},
        {"x-user": {"__type__": "no such", "__value__": 1}, "retries": "1"},
    ],
    ids=str,
)
def test_headers_that_a_stock_celery_worker_takes_are_taken(odd: dict[str, object]) -> None:
    assert ran(plain({"task": "shop.add", "id": "1", **odd}))


@pytest.mark.parametrize(
    "body",
    [
        b"[[1,2],{}]",
        b"[[1,2],[],[]]",
        b"[[1,2],null,null]",
        b'[[],{"x":1,"y":2},[]]',
        b'[{},{"x":1,"y":2},{}]',
        b'{"args":[1,2],"kwargs":{}}',
    ],
)
@pytest.mark.parametrize("encoding", ["binary", "", "UTF-8", "latin-1"])
def test_bodies_that_mean_something_run_whatever_their_encoding_is_called(body: bytes, encoding: str) -> None:
    assert ran(plain({"task": "shop.add", "id": "1"}, body, encoding)) == ("1", 3)


@pytest.mark.parametrize(
    "odd",
    [{"retries": -1}, {"eta": "soon"}, {"expires": 5}, {"timelimit": "x"}, {"task": 5}, {"group": [1]}],
    ids=str,
)
def test_where_the_id_is_known_somebody_is_answered(odd: dict[str, object]) -> None:
    verdict = decide(plain({"task": "shop.add", "id": "1", **odd}), TASKS, Revocations(), NOW_AT)

    assert isinstance(verdict, Malformed)
    assert verdict.headers is not None
    assert verdict.headers.id == "1"
    assert next(iter(odd)) in verdict.reason


def test_an_id_that_stands_beside_the_headers_counts() -> None:
    verdict = decide(plain([], correlation_id="c1"), TASKS, Revocations(), NOW_AT)

    assert isinstance(verdict, Malformed)
    assert verdict.headers is not None
    assert verdict.headers.id == "c1"


def test_properties_that_the_sender_chose_reach_the_task() -> None:
    (path,) = (each for each in RECORDED if each.stem == "rusty_celery")
    raw = json.loads(path.read_text())["redis"]
    raw["properties"] |= {"app_id": "shop", "type": "order", "priority": None, "correlation_id": 17}
    found = redis.read(json.dumps(raw).encode(), 1, b"celery", "celery", 0).delivery
    request = Request(TaskHeaders(task="shop.add", id="1"), found, (), {}, "w@here")

    assert request.properties["app_id"] == "shop"
    assert request.properties["type"] == "order"
    assert request.properties["correlation_id"] == "17"
