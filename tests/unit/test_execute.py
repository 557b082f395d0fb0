"""One execution, from payload to reply."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable
from typing import Any

import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.app.control_flow import Ignore, Reject
from taskd.base.errors import ResolveError, SoftTimeLimitExceeded
from taskd.execution.finding import load
from taskd.execution.native import replies
from taskd.execution.native.native_app import table_of
from taskd.protocol.exceptions import TaskRejected, WorkerLostError
from taskd.protocol.execution import End
from taskd.protocol.results import decode_record, failure_record
from taskd.sending.forms import Acks
from tests.unit.executing import Hostile, assignment_of, error_of, run


def test_a_task_runs_and_its_value_is_the_record(app: App) -> None:
    @app.task(name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    reply = run(app, assignment_of(add, (1,), {"y": 2}, task_id="i"))

    record = decode_record(reply.record)
    assert (reply.end, reply.state, reply.text) == (End.SUCCEEDED, "SUCCESS", "3")
    assert (record.task_id, record.value()) == ("i", 3)


def test_an_async_task_runs_in_a_loop_that_is_kept(app: App) -> None:
    loops = []

    @app.task(name="crawl")
    async def crawl(url: str) -> tuple[str, str]:
        await asyncio.sleep(0)
        loops.append(asyncio.get_running_loop())
        request = app.current_request()
        assert request is not None
        return request.id, url

    for task_id in ("a", "b"):
        reply = run(app, assignment_of(crawl, ("x",), task_id=task_id))
        assert decode_record(reply.record).value() == [task_id, "x"]

    assert loops[0] is loops[1]


def test_each_thread_has_a_loop_of_its_own_and_closes_it(app: App) -> None:
    loops = []

    @app.task(name="crawl")
    async def crawl() -> None:
        loops.append(asyncio.get_running_loop())

    for _ in range(2):
        thread = threading.Thread(target=run, args=(app, assignment_of(crawl)))
        thread.start()
        thread.join(60)

    assert loops[0] is not loops[1]
    assert all(loop.is_closed() for loop in loops)


def test_an_exception_in_an_async_task_is_a_failure(app: App) -> None:
    @app.task(name="crawl")
    async def crawl() -> None:
        raise KeyError("x")

    assert isinstance(error_of(run(app, assignment_of(crawl))), KeyError)


def test_the_request_tells_where_the_task_comes_from(app: App) -> None:
    seen = {}

    @app.task(bind=True, name="look")
    def look(self: BoundTask, x: int) -> None:
        request = self.request
        assert request is app.current_request()
        for name in ("id", "task", "args", "retries", "deliveries", "root_id", "parent_id", "hostname"):
            seen[name] = getattr(request, name)
        for name in ("reply_to", "correlation_id", "headers", "delivery_info", "called_directly", "is_eager"):
            seen[name] = getattr(request, name)

    run(app, assignment_of(look, (1,), task_id="i", headers={"x-tenant": 7}, changes={"parent_id": "p"}))

    assert seen == {
        "id": "i",
        "task": "look",
        "args": [1],
        "retries": 0,
        "deliveries": 2,
        "root_id": "i",
        "parent_id": "p",
        "hostname": "w@h",
        "reply_to": "answers",
        "correlation_id": "i",
        "headers": {"x-tenant": 7},
        "delivery_info": {
            "exchange": "ex",
            "routing_key": "rk",
            "priority": 4,
            "redelivered": True,
            "queue": "mail",
        },
        "called_directly": False,
        "is_eager": False,
    }
    assert app.current_request() is None


def test_a_task_called_by_another_as_a_function_has_no_message(app: App) -> None:
    @app.task(bind=True, name="inner")
    def inner(self: BoundTask) -> bool:
        return self.request.called_directly

    @app.task(name="outer")
    def outer() -> bool:
        return inner()

    assert decode_record(run(app, assignment_of(outer)).record).value() is True


def test_an_exception_is_a_failure_with_the_users_traceback_alone(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("boom", 3)

    with caplog.at_level(logging.ERROR):
        reply = run(app, assignment_of(fail, task_id="i"))

    error = error_of(reply)
    assert (reply.end, reply.state, reply.text) == (End.FAILED, "FAILURE", "ValueError: ('boom', 3)")
    assert type(error) is ValueError
    assert "in fail" in reply.traceback
    assert "worker/execute.py" not in reply.traceback
    (entry,) = caplog.records
    assert entry.getMessage().startswith("task=fail id=i failed: ValueError: ('boom', 3)\nTraceback")


def test_a_result_that_no_client_would_read_is_a_failure(app: App) -> None:
    @app.task(name="large")
    def large() -> str:
        return "x" * 17_000_000

    reply = run(app, assignment_of(large))

    assert reply.end is End.FAILED
    assert "max_message_size" in str(error_of(reply))


def test_a_hostile_exception_is_a_failure(app: App) -> None:
    @app.task(name="fail")
    def fail() -> None:
        raise Hostile(object())

    reply = run(app, assignment_of(fail))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), Hostile)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_task_cannot_end_its_process(app: App, error: BaseException) -> None:
    @app.task(name="leave")
    def leave() -> None:
        raise error

    reply = run(app, assignment_of(leave))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), WorkerLostError)
    assert type(error).__name__ in reply.text


def test_what_a_pool_raises_to_end_a_task_is_told_apart(app: App) -> None:
    class JobAborted(BaseException):
        pass

    @app.task(name="slow")
    def slow() -> None:
        raise JobAborted

    assert "ended from outside: JobAborted" in run(app, assignment_of(slow)).text


def test_a_soft_time_limit_is_a_failure_unless_the_task_handles_it(app: App) -> None:
    @app.task(name="slow")
    def slow(handle: bool) -> str:
        try:
            raise SoftTimeLimitExceeded("1 s")
        except SoftTimeLimitExceeded:
            if not handle:
                raise
        return "cleaned up"

    assert isinstance(error_of(run(app, assignment_of(slow, (False,)))), SoftTimeLimitExceeded)
    assert decode_record(run(app, assignment_of(slow, (True,))).record).value() == "cleaned up"


@pytest.mark.parametrize("handle", [False, True])
def test_a_soft_time_limit_reaches_a_waiting_coroutine_as_cancellation(app: App, handle: bool) -> None:
    cleaned = []

    def strike() -> None:
        # What a signal handler does: raise inside of the loop, not inside of the coroutine.
        raise SoftTimeLimitExceeded("1 s")

    @app.task(name="slow")
    async def slow() -> str:
        loop: Any = asyncio.get_running_loop()
        loop._run_once = strike_once(loop, strike)
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            cleaned.append(True)
            if not handle:
                raise
        finally:
            with contextlib.suppress(AttributeError):
                del loop._run_once
        return "cleaned up"

    def strike_once(loop: Any, strike: Callable[[], None]) -> Callable[[], None]:
        def run_once() -> None:
            del loop._run_once
            strike()

        return run_once

    reply = run(app, assignment_of(slow))

    assert cleaned == [True]
    if handle:
        assert decode_record(reply.record).value() == "cleaned up"
    else:
        assert isinstance(error_of(reply), SoftTimeLimitExceeded)


def test_a_value_without_json_is_a_failure_that_says_so(app: App) -> None:
    @app.task(name="odd")
    def odd() -> set[int]:
        return {1, 2}

    reply = run(app, assignment_of(odd))

    assert reply.end is End.FAILED
    assert "builtins.set" in reply.text


@pytest.mark.parametrize(
    ("declared", "sent", "kept"),
    [(False, None, True), (True, None, False), (True, False, True), (False, True, False)],
)
def test_a_result_is_kept_unless_it_is_ignored(
    app: App, declared: bool, sent: bool | None, kept: bool
) -> None:
    @app.task(name="add", ignore_result=declared)
    def add() -> object:
        return object() if not kept else 1

    reply = run(app, assignment_of(add, changes={"ignore_result": sent}))

    assert reply.end is End.SUCCEEDED
    assert bool(reply.record) is kept


def test_group_and_parent_are_in_the_record(app: App) -> None:
    @app.task(name="add")
    def add() -> int:
        return 1

    record = decode_record(run(app, assignment_of(add, changes={"group": "g", "parent_id": "p"})).record)

    assert (record.group_id, record.parent_id) == ("g", "p")


# -- other ends ---------------------------------------------------------------------------------


def test_an_ignored_task_stores_nothing(app: App) -> None:
    @app.task(name="t")
    def task() -> None:
        raise Ignore("not now")

    reply = run(app, assignment_of(task))

    assert (reply.end, reply.record) == (End.IGNORED, b"")


def test_a_rejected_task_is_dead_lettered_and_answered(app: App) -> None:
    @app.task(name="t")
    def task(*, requeue: bool) -> None:
        raise Reject("bad input", requeue=requeue)

    dead = run(app, assignment_of(task, kwargs={"requeue": False}))
    again = run(app, assignment_of(task, kwargs={"requeue": True}))

    assert (dead.end, dead.text) == (End.REJECTED, "bad input")
    assert isinstance(error_of(dead), TaskRejected)
    assert (again.end, again.record) == (End.REQUEUED, b"")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"body": b"not json"}, "JSON"),
        ({"body": b"[]"}, "args, kwargs, embed"),
        ({"content_type": "application/x-python-serialize"}, "pickle"),
    ],
)
def test_a_body_that_cannot_be_decoded_is_dead_lettered_and_answered(
    app: App, changes: dict[str, Any], reason: str
) -> None:
    @app.task(name="t")
    def task() -> None:
        raise AssertionError("it must not run")

    reply = run(app, assignment_of(task, **changes))

    assert reply.end is End.REJECTED
    assert reason in reply.text
    assert isinstance(error_of(reply), TaskRejected)


def test_a_task_of_a_chord_is_dead_lettered_and_whoever_waits_for_the_chord_is_answered(app: App) -> None:
    @app.task(name="t")
    def task() -> None:
        raise AssertionError("it must not run")

    body = json.dumps([[], {}, {"chord": {"task": "sum", "options": {"task_id": "sum-1"}}}]).encode()
    reply = run(app, assignment_of(task, body=body, changes={"group": "g"}))

    assert reply.end is End.REJECTED
    assert "does not count its parts" in reply.text
    assert [(part.group, b"sum-1" in part.body) for part in reply.parts] == [("g", True)]


def test_an_unknown_task_and_broken_headers_are_dead_lettered(app: App) -> None:
    @app.task(name="t")
    def task() -> None:
        pass

    assert run(app, assignment_of(task, changes={"task": "other"})).end is End.REJECTED
    assert run(app, assignment_of(task, changes={"retries": "x"})).end is End.REJECTED


# -- the app ------------------------------------------------------------------------------------


def test_the_task_table_has_what_the_parent_needs(app: App) -> None:
    @app.task(name="t", acks="early", ignore_result=True, soft_time_limit=1, time_limit=2)
    def task() -> None:
        pass

    (options,) = table_of(app).tasks

    assert (options.name, options.acks, options.ignore_result) == ("t", Acks.EARLY, True)
    assert (options.soft_time_limit, options.time_limit) == (1, 2)


def test_an_object_that_is_no_app_is_named() -> None:
    with pytest.raises(ResolveError, match=r"builtins\.dict.*taskd\.App"):
        load("json.decoder:BACKSLASH")


def test_a_soft_limit_that_strikes_after_the_end_costs_nothing(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("x")

    strikes = [SoftTimeLimitExceeded("1 s")]
    original = failure_record

    def struck(*args: Any, **kwargs: Any) -> bytes:
        if strikes:
            raise strikes.pop()
        return original(*args, **kwargs)

    monkeypatch.setattr(replies, "failure_record", struck)
    assert isinstance(error_of(run(app, assignment_of(fail))), ValueError)


def test_celerys_names_are_there(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> list[object]:
        return [self.AsyncResult("j").id, self.request.utc]

    assert decode_record(run(app, assignment_of(fetch)).record).value() == ["j", True]
