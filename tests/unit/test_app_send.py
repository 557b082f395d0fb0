"""Sending: what is on the wire, and how it gets there."""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from typing import Any, Concatenate, ParamSpec, TypeVar, cast
from uuid import uuid4

import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.base import clock
from taskd.base.errors import BrokerError, ConfigError, SerializationError
from taskd.brokers import factory
from taskd.config.schema import Config
from taskd.config.stores import Stores
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import TaskHeaders, decode_body, decode_headers
from taskd.sending import request as requests
from taskd.sending.calls import build_message
from taskd.sending.options import TaskSettings
from taskd.sending.request import Request

P = ParamSpec("P")
R = TypeVar("R")


class Bench:
    """An app on a broker in memory, and what has been sent to one of its queues."""

    def __init__(self) -> None:
        self.url = f"memory://{uuid4()}"
        self.app = App(broker=self.url, results=self.url)

        @self.app.task(name="add")
        def add(x: int, y: int = 0) -> int:
            return x + y

        self.add = add
        #: The same for callers that nobody checks: what they get wrong is refused when they send.
        self.unchecked_app: Any = self.app
        self.unchecked: Any = add

    def sent(self, queue: str = "default") -> list[Delivery]:
        broker = factory.connect(self.url, Stores())
        intake = broker.intake("reader", [queue])
        try:
            return list(intake.claim(10_000))
        finally:
            broker.close()

    def headers(self, queue: str = "default") -> list[dict[str, Any]]:
        return [json.loads(delivery.headers) for delivery in self.sent(queue)]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.app.close()


@contextmanager
def running(task_id: str = "parent", root_id: str = "root", task: str = "outer") -> Iterator[None]:
    headers = TaskHeaders(task=task, id=task_id, root_id=root_id)
    token = requests.current.set(Request(headers, Delivery(1, "", task_id, b"", b""), (), {}, "w@h"))
    try:
        yield
    finally:
        requests.current.reset(token)


def test_delay_sends_a_message_of_protocol_2(bench: Bench) -> None:
    result = bench.add.delay(1, y=2)

    (delivery,) = bench.sent()
    headers = json.loads(delivery.headers)
    assert json.loads(delivery.body)[:2] == [[1], {"y": 2}]
    assert (delivery.task_id, delivery.correlation_id) == (result.id, result.id)
    assert (delivery.content_type, delivery.content_encoding) == ("application/json", "utf-8")
    assert (headers["task"], headers["id"], headers["root_id"], headers["parent_id"]) == (
        "add",
        result.id,
        result.id,
        None,
    )
    assert (headers["argsrepr"], headers["kwargsrepr"]) == ("(1,)", "{'y': 2}")


def test_options_are_on_the_wire(bench: Bench) -> None:
    bench.add.apply_async(
        (1,),
        queue="mail",
        priority=7,
        task_id="mine",
        headers={"x-tenant": 7},
        max_retries=9,
        retry_delay=0.5,
        ignore_result=True,
        soft_time_limit=1,
        time_limit=2,
        expires=60,
    )

    (delivery,) = bench.sent("mail")
    headers = json.loads(delivery.headers)
    assert (delivery.task_id, delivery.priority) == ("mine", 7)
    assert (headers["x-tenant"], headers["taskd_max_retries"], headers["taskd_retry_delay"]) == (7, 9, 0.5)
    assert (headers["ignore_result"], headers["timelimit"]) == (True, [2, 1])
    expires = datetime.fromisoformat(headers["expires"]).timestamp()
    assert 50 < expires - clock.now() <= 60


def test_a_delayed_message_waits_in_the_broker(bench: Bench) -> None:
    bench.add.apply_async((1,), countdown=60)
    bench.add.apply_async((2,), eta=datetime.now(timezone.utc) + timedelta(seconds=60))
    bench.add.apply_async((3,), countdown=timedelta(minutes=1))

    broker = factory.connect(bench.url, Stores())
    intake = broker.intake("reader", ["default"])
    waiting = intake.scheduled(10)
    broker.close()
    assert bench.sent() == []
    assert len(waiting) == 3
    for due_at, delivery in waiting:
        eta = datetime.fromisoformat(json.loads(delivery.headers)["eta"])
        assert abs(eta.timestamp() - due_at) < 0.001
        assert eta.utcoffset() is not None


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"priority": 10}, "priority"),
        ({"priority": -1}, "priority"),
        ({"eta": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"eta": datetime(9999, 1, 1, tzinfo=timezone.utc)}, "2200"),
        ({"expires": datetime(2026, 1, 1)}, "time zone"),  # noqa: DTZ001
        ({"expires": datetime(9999, 1, 1, tzinfo=timezone.utc)}, "2200"),
        ({"countdown": 1e12}, "countdown lies beyond the year 2200"),
        ({"countdown": 10**400}, "2200"),
        ({"countdown": timedelta.max}, "2200"),
        ({"countdown": float("nan")}, "countdown is nan"),
        ({"expires": 1e12}, "expires lies beyond the year 2200"),
        ({"expires": float("inf")}, "expires is inf"),
        ({"time_limit": 1e10}, "time_limit"),
        ({"soft_time_limit": -1}, "soft_time_limit"),
        ({"max_retries": -1}, "max_retries"),
        ({"retry_delay": 1e10}, "retry_delay"),
        ({"countdown": 1, "eta": datetime(2026, 1, 1, tzinfo=timezone.utc)}, "not both"),
        ({"headers": {"task": "other"}}, "header task"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused_before_anything_is_sent(
    bench: Bench, options: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        bench.add.apply_async((1,), **options)

    assert bench.sent() == []


@pytest.mark.parametrize("countdown", [-5, -1e12, -(10**400), timedelta.min])
def test_a_time_that_is_past_is_past_however_long(bench: Bench, countdown: float | timedelta) -> None:
    bench.add.apply_async((1,), countdown=countdown)
    bench.add.apply_async((1,), eta=datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=23))))

    for message in bench.sent():
        assert datetime.fromisoformat(json.loads(message.headers)["eta"]).timestamp() <= clock.now()


@pytest.mark.parametrize(
    ("args", "options", "named"),
    [
        (("x" * 17_000_000,), {}, "max_message_size"),
        (([[]] * 500_001,), {}, "max_message_containers"),
        ((1,), {"headers": {"x": "y" * 1_100_000}}, "headers take"),
    ],
    ids=["bytes", "containers", "headers"],
)
def test_what_no_worker_would_read_is_refused(
    bench: Bench, args: tuple[Any, ...], options: dict[str, Any], named: str
) -> None:
    with pytest.raises(SerializationError, match=named):
        bench.add.apply_async(args, **options)

    assert bench.sent() == []


def test_an_unknown_option_is_refused(bench: Bench) -> None:
    with pytest.raises(TypeError, match="countdwn"):
        bench.unchecked.apply_async((1,), countdwn=3)


def test_an_argument_without_json_is_refused_with_the_tasks_name(bench: Bench) -> None:
    with pytest.raises(SerializationError, match=r'task "add".*builtins.object'):
        bench.unchecked.delay(object())


def test_a_task_sent_inside_a_task_is_its_child(bench: Bench) -> None:
    with running("parent", "root"):
        bench.add.delay(1)

    (headers,) = bench.headers()
    assert (headers["root_id"], headers["parent_id"]) == ("root", "parent")


def test_a_task_is_sent_by_name(bench: Bench) -> None:
    result = bench.app.send_task("shop.report", (1,), {"day": 2}, queue="reports")

    (delivery,) = bench.sent("reports")
    headers = json.loads(delivery.headers)
    assert (headers["task"], headers["id"]) == ("shop.report", result.id)
    assert headers["ignore_result"] is None


def test_a_bulk_send_keeps_the_order_and_the_options(bench: Bench) -> None:
    calls = [bench.add.call(n).with_options(priority=3) for n in range(700)]

    results = bench.app.send_many(calls)

    deliveries = bench.sent()
    assert [delivery.task_id for delivery in deliveries] == [result.id for result in results]
    assert {delivery.priority for delivery in deliveries} == {3}
    assert json.loads(deliveries[699].body)[0] == [699]


def test_map_sends_one_message_for_each_tuple(bench: Bench) -> None:
    results = bench.add.map([(1, 2), (3, 4)])

    assert [json.loads(delivery.body)[0] for delivery in bench.sent()] == [[1, 2], [3, 4]]
    assert len({result.id for result in results}) == 2


def test_the_async_twins_send_too(bench: Bench) -> None:
    async def send() -> None:
        await bench.add.adelay(1, y=2)
        await bench.add.aapply_async((2,), priority=1)
        await bench.app.asend_task("add", (3,))
        await bench.app.asend_many([bench.add.call(4)])

    asyncio.run(send())

    assert sorted(json.loads(delivery.body)[0] for delivery in bench.sent()) == [[1], [2], [3], [4]]


def test_the_async_twins_inherit_the_parent(bench: Bench) -> None:
    async def send() -> None:
        with running("parent", "root"):
            await bench.add.adelay(1)

    asyncio.run(send())

    (headers,) = bench.headers()
    assert headers["parent_id"] == "parent"


def test_an_app_reads_its_configuration_when_it_first_sends() -> None:
    app = App("/nonexistent/taskd.toml")

    with pytest.raises(ConfigError, match="/nonexistent/taskd"):
        app.send_task("add")


def test_the_configuration_is_found_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TASKD_CONFIG", "/nonexistent/elsewhere.toml")

    with pytest.raises(ConfigError, match="elsewhere"):
        App().send_task("add")


def test_a_configuration_that_is_nowhere_is_answered_with_the_ways_to_name_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TASKD_CONFIG", "/nonexistent/elsewhere.toml")

    with pytest.raises(ConfigError, match=r"elsewhere\.toml.*TASKD_CONFIG.*App\(config=.*App\(broker="):
        App().send_task("add")


def test_a_bound_configuration_outranks_all_others(bench: Bench) -> None:
    app = App("/nonexistent/taskd.toml", broker="amqp://elsewhere")
    app.bind_config(Config(broker=bench.url, results=bench.url))

    app.send_task("add")

    assert len(bench.sent()) == 1
    app.close()


def test_a_broker_that_nobody_speaks_is_named() -> None:
    with pytest.raises(BrokerError, match="carrier-pigeon"):
        App(broker="carrier-pigeon://x").send_task("add")


def test_a_closed_app_opens_again(bench: Bench) -> None:
    bench.add.delay(1)
    bench.app.close()
    bench.app.close()

    bench.add.delay(2)

    assert len(bench.sent()) == 2


# -- mistakes of the caller ----------------------------------------------------------------------


def test_arguments_that_the_function_does_not_take_are_refused_where_they_are_sent(bench: Bench) -> None:
    with pytest.raises(TypeError, match=r"task \"add\" does not take these arguments: missing.*'x'"):
        bench.unchecked.delay()
    with pytest.raises(TypeError, match="too many positional arguments"):
        bench.unchecked.apply_async((1, 2, 3))
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        bench.unchecked.delay(1, z=2)
    assert bench.sent() == []


def test_a_bound_task_is_sent_without_itself(bench: Bench) -> None:
    @bench.app.task(bind=True, name="own")
    def own(self: BoundTask, x: int) -> int:
        return x

    own.delay(1)

    with pytest.raises(TypeError, match="too many positional arguments"):
        cast("Any", own).delay(1, 2)


def test_a_decorator_may_give_the_function_what_the_caller_does_not(bench: Bench) -> None:
    def with_session(function: Callable[Concatenate[str, P], R]) -> Callable[P, R]:
        @functools.wraps(function)
        def inner(*args: P.args, **kwargs: P.kwargs) -> R:
            return function("session", *args, **kwargs)

        return inner

    @bench.app.task(name="stored")
    @with_session
    def stored(session: str, x: int) -> int:
        return x

    stored.delay(1)

    assert len(bench.sent()) == 1


def test_a_function_that_does_not_tell_what_it_takes_is_sent_whatever_is_given(bench: Bench) -> None:
    bench.app.task(name="most")(max).delay(1, 2)

    assert len(bench.sent()) == 1


@pytest.mark.parametrize("args", [5, "text", {1: 2}, {3}])
def test_arguments_that_are_no_list_are_refused(bench: Bench, args: Any) -> None:
    with pytest.raises(TypeError, match=r'task "add" cannot be sent with args .*expected a list or tuple'):
        bench.add.apply_async(args)
    with pytest.raises(TypeError, match='task "else" cannot be sent with args'):
        bench.app.send_task("else", args)


def test_keywords_that_are_no_dict_are_refused(bench: Bench) -> None:
    with pytest.raises(TypeError, match="kwargs 7; expected a list or tuple, and a dict"):
        bench.unchecked_app.send_task("else", (), 7)


def test_an_option_that_does_not_exist_is_refused_with_the_nearest_name(bench: Bench) -> None:
    with pytest.raises(TypeError, match=r'"add" cannot be sent with countdwn: .*did you mean "countdown"'):
        bench.unchecked.apply_async((1,), countdwn=3)
    with pytest.raises(TypeError, match="no such option; there are countdown, eta"):
        bench.unchecked.call(1).with_options(zzz=3)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("countdown", "5"),
        ("countdown", True),
        ("expires", True),
        ("eta", 5),
        ("expires", "tomorrow"),
        ("queue", 3),
        ("priority", "high"),
        ("time_limit", "1m"),
        ("max_retries", 1.5),
        ("headers", []),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_by_name(bench: Bench, option: str, value: object) -> None:
    with pytest.raises(TypeError, match=f'task "add": {option} is .*; expected '):
        bench.unchecked.apply_async((1,), **{option: value})


def test_a_task_or_a_send_may_compress_the_body() -> None:
    options = TaskSettings("t", compression="gzip")

    by_task = build_message(options, ("x" * 1000,), {})
    by_send = build_message(options, (1,), {}, compression="bzip2")
    plain = build_message(options, (1,), {}, compression="")

    found = [decode_headers(message.headers).compression for message in (by_task, by_send, plain)]
    assert found == ["application/x-gzip", "application/x-bz2", None]
    assert decode_body(by_task.body, "application/json", found[0])[0] == ["x" * 1000]
    with pytest.raises(ValueError, match="expected one of gzip"):
        build_message(options, (), {}, compression="rot13")
    with pytest.raises(ValueError, match="expected one of gzip"):
        TaskSettings("t", compression="rot13")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("option", ["countdown", "expires", "time_limit"])
def test_a_time_that_never_comes_is_refused_by_name(bench: Bench, option: str, value: float) -> None:
    with pytest.raises(ValueError, match=f'task "add": {option} is {value}; expected seconds'):
        bench.unchecked.apply_async((1,), **{option: value})


def test_a_task_in_the_place_of_a_call_is_refused(bench: Bench) -> None:
    with pytest.raises(
        TypeError, match=r"send_many takes calls, such as task\.call\(\.\.\.\), not <Task add>"
    ):
        bench.unchecked_app.send_many([bench.add])
