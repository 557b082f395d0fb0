"""One message of a Celery app in a pool slot: what its task sees, how it ends, what its backend has then."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from decimal import Decimal
from functools import partial
from typing import Any

import celery
import msgspec
import pytest
from celery import Celery, current_app, signals
from celery.app import trace
from celery.backends import cache
from celery.exceptions import Ignore, Reject
from kombu.serialization import register, register_json, unregister
from pydantic import BaseModel

from taskd.pools.interrupt import JobAborted
from taskd.protocol.execution import Assignment, Cause, DecidedEnd, End
from taskd.protocol.results import revoked_record
from tests.component.celery_messages import delivery_of, executor_of, run
from tests.system.celery_client import CELERYS_WARNINGS

pytestmark = [
    *CELERYS_WARNINGS,
    # Celery's tracer warns where a result store is down.
    pytest.mark.filterwarnings("ignore:Exception raised outside body"),
]
_numbers = itertools.count(1)


@pytest.fixture
def app() -> Iterator[Any]:
    """A Celery app with its broker and its results in memory."""
    former = current_app._get_current_object()
    cache._DUMMY_CLIENT_CACHE.clear()
    made = Celery(
        f"component-{next(_numbers)}", broker="memory://", backend="cache+memory://", set_as_current=True
    )
    # Celery gives the tasks of each app to all others that come later in the process.
    made.task = partial(made.task, shared=False)
    yield made
    made.close()
    former.set_current()


class Price(BaseModel):
    """An argument and a result."""

    amount: int


def stored(app: Any, task_id: str = "id-1") -> tuple[str, object]:
    found = app.AsyncResult(task_id)
    return found.state, found.result


def add_to(app: Any) -> None:
    @app.task(name="add")  # type: ignore[untyped-decorator]
    def add(left: int, right: int = 0) -> int:
        return left + right


def test_a_result_is_in_the_apps_backend_and_its_text_in_the_reply(app: Any) -> None:
    add_to(app)

    reply = run(app, delivery_of(app, "add", (1,), {"right": 2}))

    assert (reply.end, reply.text, reply.record) == (End.SUCCEEDED, "3", b"")
    assert stored(app) == ("SUCCESS", 3)


def test_a_failure_is_stored_with_its_traceback_and_told_in_one_line(app: Any) -> None:
    @app.task(name="bad")  # type: ignore[untyped-decorator]
    def bad() -> None:
        raise KeyError("the\nkey")

    reply = run(app, delivery_of(app, "bad"))

    assert (reply.end, reply.state, reply.text) == (End.FAILED, "FAILURE", "KeyError('the\\nkey')")
    assert reply.traceback.endswith("KeyError: 'the\\nkey'\n")
    assert app.AsyncResult("id-1").traceback == reply.traceback


def test_a_task_sees_every_field_of_its_message(app: Any) -> None:
    seen: dict[str, Any] = {}

    @app.task(name="look", bind=True)  # type: ignore[untyped-decorator]
    def look(self: Any, *args: object, **kwargs: object) -> None:
        seen.update(vars(self.request), own=self.request.headers, stack=len(self.request_stack.stack))
        seen["chain"] = list(self.request.chain)  # Celery may take the next step out of it

    delivery = delivery_of(
        app,
        "look",
        (1,),
        {"a": 2},
        headers={"x-tenant": "acme"},
        group_id="g",
        group_index=4,
        root_id="r",
        parent_id="p",
        retries=2,
        time_limit=30,
        soft_time_limit=20,
        reply_to="answers",
        chain=[
            {"task": "look", "args": [], "kwargs": {}, "options": {"task_id": "next"}, "subtask_type": None}
        ],
        properties={"app_id": "shop"},
    )
    run(app, msgspec.structs.replace(delivery, priority=4, deliveries=2))

    assert (seen["id"], seen["task"], seen["args"], seen["kwargs"]) == ("id-1", "look", [1], {"a": 2})
    assert (seen["group"], seen["group_index"], seen["root_id"], seen["parent_id"]) == ("g", 4, "r", "p")
    assert (seen["retries"], seen["timelimit"]) == (2, [30, 20])
    assert (seen["reply_to"], seen["correlation_id"], seen["hostname"]) == ("answers", "id-1", "w@h")
    assert seen["own"] == {"x-tenant": "acme"}
    assert seen["delivery_info"] == {
        "exchange": "", "routing_key": "celery", "priority": 4, "redelivered": True,
    }  # fmt: skip
    assert seen["properties"]["app_id"] == "shop"
    assert seen["chain"][0]["options"]["task_id"] == "next"
    assert (seen["called_directly"], seen["is_eager"], seen["stack"]) == (False, False, 1)


MOMENT = datetime(2026, 3, 1, 12, 0, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    "value",
    [MOMENT, Decimal("1.10"), "grüße \\u005f", 2**80, float("nan"), "\ud800", [{"deep": [None, 1.5]}]],
    ids=ascii,
)
def test_arguments_are_what_kombu_makes_of_them(app: Any, value: object) -> None:
    seen = []

    @app.task(name="see", ignore_result=True)  # type: ignore[untyped-decorator]
    def see(value: object) -> None:
        seen.append(value)

    assert run(app, delivery_of(app, "see", (value,))).end is End.SUCCEEDED
    assert [repr(each) for each in seen] == [repr(value)]


def test_a_json_serializer_of_the_apps_own_is_used(app: Any) -> None:
    register("json", lambda _value: "{}", lambda _data: [[20, 22], {}, {}], "application/json", "utf-8")
    try:
        add_to(app)

        assert run(app, delivery_of(app, "add", (1, 2))).text == "42"
    finally:
        register_json()


@pytest.mark.parametrize("compression", ["gzip", "bzip2", "lzma"])
def test_compressed_arguments_are_read(app: Any, compression: str) -> None:
    add_to(app)

    assert run(app, delivery_of(app, "add", (40, 2), compression=compression)).text == "42"


def test_a_serializer_of_the_apps_own_is_used_for_arguments_and_results(app: Any) -> None:
    register(
        "reversed",
        lambda value: json.dumps(value)[::-1],
        lambda text: json.loads(text[::-1]),
        "app/x-rev",
        "utf-8",
    )
    try:
        app.conf.update(
            accept_content=["app/x-rev"], result_serializer="reversed", result_accept_content=["app/x-rev"]
        )
        add_to(app)

        assert run(app, delivery_of(app, "add", (1, 2), serializer="reversed")).end is End.SUCCEEDED
        assert stored(app) == ("SUCCESS", 3)
        refused = run(app, delivery_of(app, "add", (1, 2), task_id="id-2"))
    finally:
        unregister("reversed")
    assert refused.end is End.REJECTED
    assert "application/json" in refused.text


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "DecodeError"),
        (b"4", "task body is of type int; expected [args, kwargs, embed]"),
        (b"[4, {}, {}]", "args is of type int; expected a list"),
        (b"[[], [1], {}]", "kwargs is of type list; expected a mapping"),
        (b"[[], {}, 4]", "embed is of type int; expected a mapping"),
    ],
)
def test_a_body_that_cannot_be_read_is_rejected_and_a_failure_in_the_backend(
    app: Any, body: bytes, reason: str
) -> None:
    add_to(app)

    reply = run(app, msgspec.structs.replace(delivery_of(app, "add"), body=body))

    assert reply.end is End.REJECTED
    assert reason in reply.text
    assert stored(app)[0] == "FAILURE"


@pytest.mark.parametrize("body", [b'{"task": "add", "args": [1, 2]}', b"[[1, 2], {}]", b"[[1, 2], {}, []]"])
def test_bodies_of_other_senders_are_read(app: Any, body: bytes) -> None:
    add_to(app)

    assert run(app, msgspec.structs.replace(delivery_of(app, "add"), body=body)).text == "3"


def test_the_words_of_control_flow_become_ends(app: Any) -> None:
    @app.task(name="word", bind=True)  # type: ignore[untyped-decorator]
    def word(self: Any, kind: str) -> None:
        match kind:
            case "ignore":
                raise Ignore
            case "reject":
                raise Reject("not ours")
            case "requeue":
                raise Reject("later", requeue=True)
            case "retry":
                raise self.retry(exc=OSError("down"), countdown=5)

    def end_of(kind: str) -> tuple[End, str, str]:
        reply = run(app, delivery_of(app, "word", (kind,), task_id=kind))
        return reply.end, reply.text, app.AsyncResult(kind).state

    assert end_of("ignore")[::2] == (End.IGNORED, "PENDING")
    assert end_of("reject") == (End.REJECTED, "not ours", "FAILURE")
    assert end_of("requeue")[::2] == (End.REQUEUED, "PENDING")
    assert end_of("retry") == (End.RETRIED, "OSError('down')", "RETRY")


def test_an_eager_call_within_a_task_stays_in_its_process(app: Any) -> None:
    add_to(app)
    app.conf.task_always_eager = True

    @app.task(name="outer", bind=True)  # type: ignore[untyped-decorator]
    def outer(self: Any) -> list[object]:
        inner = app.tasks["add"].delay(1, 2)
        return [inner.get(disable_sync_subtasks=False), self.request.id, self.request.is_eager]

    run(app, delivery_of(app, "outer"))
    app.conf.task_always_eager = False

    assert stored(app) == ("SUCCESS", [3, "id-1", False])


@pytest.mark.skipif(celery.VERSION[:2] < (5, 7), reason="an older Celery reads no postponed annotations")
def test_arguments_are_checked_by_pydantic_where_the_task_asks(app: Any) -> None:
    @app.task(name="priced", pydantic=True)  # type: ignore[untyped-decorator]
    def priced(price: Price) -> Price:
        return Price(amount=price.amount * 2)

    good = run(app, delivery_of(app, "priced", ({"amount": 3},), task_id="good"))
    bad = run(app, delivery_of(app, "priced", ({"amount": "none"},), task_id="bad"))

    assert (good.end, stored(app, "good")) == (End.SUCCEEDED, ("SUCCESS", {"amount": 6}))
    assert bad.end is End.FAILED
    assert "ValidationError" in bad.text


def test_a_stamped_task_knows_its_stamps(app: Any) -> None:
    seen = []

    @app.task(name="stamped", bind=True)  # type: ignore[untyped-decorator]
    def stamped(self: Any) -> None:
        seen.append((self.request.stamped_headers, self.request.stamps))

    run(
        app,
        delivery_of(app, "stamped", headers={"stamped_headers": ["tenant"], "stamps": {"tenant": "acme"}}),
    )

    assert seen == [(["tenant"], {"tenant": "acme"})]


def test_signals_of_a_run_come_in_celerys_order_within_its_request(app: Any) -> None:
    add_to(app)
    heard = []

    def hear(name: str) -> Any:
        def receiver(sender: Any, **_facts: object) -> None:
            heard.append((name, sender.request.id))

        return receiver

    names = ("task_prerun", "task_success", "task_postrun")
    receivers = {name: hear(name) for name in names}
    for name, receiver in receivers.items():
        getattr(signals, name).connect(receiver, weak=False)

    run(app, delivery_of(app, "add", (1, 2)))

    for name, receiver in receivers.items():
        getattr(signals, name).disconnect(receiver)
    assert heard == [(name, "id-1") for name in names]


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt(), MemoryError("all used")])
def test_what_would_end_the_process_is_a_failure(app: Any, error: BaseException) -> None:
    failures = []

    def hear(exception: Exception, **_facts: object) -> None:
        failures.append(exception)

    signals.task_failure.connect(hear, weak=False, dispatch_uid="hear")

    @app.task(name="leave")  # type: ignore[untyped-decorator]
    def leave() -> None:
        raise error

    try:
        reply = run(app, delivery_of(app, "leave"))
    finally:
        signals.task_failure.disconnect(dispatch_uid="hear")

    assert reply.end is End.FAILED
    assert type(error).__name__ in reply.text
    assert stored(app)[0] == "FAILURE"
    assert len(failures) == 1


def test_a_run_that_the_pool_ends_is_left_to_the_worker(app: Any) -> None:
    @app.task(name="long")  # type: ignore[untyped-decorator]
    def long() -> None:
        raise JobAborted

    assert run(app, delivery_of(app, "long")).end is End.FAILED
    assert stored(app)[0] == "PENDING"


def test_an_end_that_the_backend_does_not_take_is_said_to_be_unstored(
    app: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    add_to(app)

    def refuse(*_args: object, **_words: object) -> None:
        raise ConnectionError("no route to the cache")

    monkeypatch.setattr(type(app.backend), "store_result", refuse)

    reply = run(app, delivery_of(app, "add", (1, 2)))

    assert reply.end is End.UNSTORED
    assert reply.text == (
        "the app's result backend did not take the end of the run: ConnectionError('no route to the cache')"
    )
    assert "task=add id=id-1" in caplog.text


def test_a_value_that_the_backend_refuses_makes_the_run_a_failure(app: Any) -> None:
    @app.task(name="odd")  # type: ignore[untyped-decorator]
    def odd() -> object:
        return object()

    assert run(app, delivery_of(app, "odd")).end is End.FAILED
    state, error = stored(app)
    assert state == "FAILURE"
    assert "not JSON serializable" in str(error)


def test_an_end_that_the_worker_decides_is_stored_in_the_backend(app: Any) -> None:
    add_to(app)
    executor = executor_of(app)
    record = revoked_record("id-1", "revoked", done_at=0.0)
    delivery = delivery_of(app, "add", (1, 2))

    reply = executor.execute(Assignment(delivery, DecidedEnd("id-1", "REVOKED", record, Cause.REVOKED)))

    assert reply.end is End.IGNORED
    assert stored(app)[0] == "REVOKED"


def test_an_integration_that_replaces_build_tracer_is_asked(
    app: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_to(app)
    traced = []
    original = trace.build_tracer

    def build(name: str, *args: Any, **words: Any) -> Any:
        run_traced = original(name, *args, **words)

        def outer(*args: Any, **words: Any) -> Any:
            traced.append(name)
            return run_traced(*args, **words)

        return outer

    monkeypatch.setattr(trace, "build_tracer", build)

    run(app, delivery_of(app, "add", (1, 2)))

    assert traced == ["add"]
