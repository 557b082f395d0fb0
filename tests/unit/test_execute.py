"""One execution, from payload to reply."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from taskd import App
from taskd.app.control_flow import Ignore, Reject, Retry
from taskd.app.task import BoundTask
from taskd.base import clock
from taskd.base.errors import ResolveError, SoftTimeLimitExceeded
from taskd.execution.native import replies
from taskd.execution.native.loading import load_app, task_table
from taskd.protocol.exceptions import MaxRetriesExceededError, TaskRejected, WorkerLostError
from taskd.protocol.execution import End
from taskd.protocol.message import decode_body, decode_headers, headers_as_mapping
from taskd.protocol.results import decode_record, failure_record
from taskd.sending.forms import Acks
from tests.unit.executing import Hostile, due_at, error_of, retry_of, run, work_of


@pytest.fixture
def app() -> App:
    return App(broker="memory://unused")


def test_a_task_runs_and_its_value_is_the_record(app: App) -> None:
    @app.task(name="add")
    def add(x: int, y: int = 0) -> int:
        return x + y

    reply = run(app, work_of(add, (1,), {"y": 2}, task_id="i"))

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
        reply = run(app, work_of(crawl, ("x",), task_id=task_id))
        assert decode_record(reply.record).value() == [task_id, "x"]

    assert loops[0] is loops[1]


def test_each_thread_has_a_loop_of_its_own_and_closes_it(app: App) -> None:
    loops = []

    @app.task(name="crawl")
    async def crawl() -> None:
        loops.append(asyncio.get_running_loop())

    for _ in range(2):
        thread = threading.Thread(target=run, args=(app, work_of(crawl)))
        thread.start()
        thread.join(10)

    assert loops[0] is not loops[1]
    assert all(loop.is_closed() for loop in loops)


def test_an_exception_in_an_async_task_is_a_failure(app: App) -> None:
    @app.task(name="crawl")
    async def crawl() -> None:
        raise KeyError("x")

    assert isinstance(error_of(run(app, work_of(crawl))), KeyError)


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

    run(app, work_of(look, (1,), task_id="i", headers={"x-tenant": 7}, changes={"parent_id": "p"}))

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

    assert decode_record(run(app, work_of(outer)).record).value() is True


def test_an_exception_is_a_failure_with_the_users_traceback_alone(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    @app.task(name="fail")
    def fail() -> None:
        raise ValueError("boom", 3)

    with caplog.at_level(logging.ERROR):
        reply = run(app, work_of(fail, task_id="i"))

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

    reply = run(app, work_of(large))

    assert reply.end is End.FAILED
    assert "max_message_size" in str(error_of(reply))


def test_a_hostile_exception_is_a_failure(app: App) -> None:
    @app.task(name="fail")
    def fail() -> None:
        raise Hostile(object())

    reply = run(app, work_of(fail))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), Hostile)


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()])
def test_a_task_cannot_end_its_process(app: App, error: BaseException) -> None:
    @app.task(name="leave")
    def leave() -> None:
        raise error

    reply = run(app, work_of(leave))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), WorkerLostError)
    assert type(error).__name__ in reply.text


def test_what_a_pool_raises_to_end_a_task_is_told_apart(app: App) -> None:
    class JobAborted(BaseException):
        pass

    @app.task(name="slow")
    def slow() -> None:
        raise JobAborted

    assert "ended from outside: JobAborted" in run(app, work_of(slow)).text


def test_a_soft_time_limit_is_a_failure_unless_the_task_handles_it(app: App) -> None:
    @app.task(name="slow")
    def slow(handle: bool) -> str:
        try:
            raise SoftTimeLimitExceeded("1 s")
        except SoftTimeLimitExceeded:
            if not handle:
                raise
        return "cleaned up"

    assert isinstance(error_of(run(app, work_of(slow, (False,)))), SoftTimeLimitExceeded)
    assert decode_record(run(app, work_of(slow, (True,))).record).value() == "cleaned up"


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

    reply = run(app, work_of(slow))

    assert cleaned == [True]
    if handle:
        assert decode_record(reply.record).value() == "cleaned up"
    else:
        assert isinstance(error_of(reply), SoftTimeLimitExceeded)


def test_a_value_without_json_is_a_failure_that_says_so(app: App) -> None:
    @app.task(name="odd")
    def odd() -> set[int]:
        return {1, 2}

    reply = run(app, work_of(odd))

    assert reply.end is End.FAILED
    assert "builtins.set" in reply.text


def test_arguments_that_do_not_fit_are_a_type_error_and_never_retried(app: App) -> None:
    @app.task(name="add", retry_for=(Exception,))
    def add(x: int) -> int:
        return x

    reply = run(app, work_of(add, (1, 2)))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), TypeError)


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

    reply = run(app, work_of(add, changes={"ignore_result": sent}))

    assert reply.end is End.SUCCEEDED
    assert bool(reply.record) is kept


def test_group_and_parent_are_in_the_record(app: App) -> None:
    @app.task(name="add")
    def add() -> int:
        return 1

    record = decode_record(run(app, work_of(add, changes={"group": "g", "parent_id": "p"})).record)

    assert (record.group_id, record.parent_id) == ("g", "p")


# -- retries ------------------------------------------------------------------------------------


def test_a_retry_is_the_same_message_once_more(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask, url: str) -> None:
        try:
            raise ConnectionError("down")
        except ConnectionError:
            self.retry(countdown=30)

    payload = work_of(
        fetch, ("x",), task_id="i", headers={"x-tenant": 7}, changes={"retries": 1, "group": "g"}
    )
    before = clock.now()
    reply = run(app, payload)

    retry = retry_of(reply)
    headers = decode_headers(retry.headers)
    assert (reply.end, reply.state, reply.text) == (End.RETRIED, "RETRY", "ConnectionError: down")
    assert isinstance(error_of(reply), ConnectionError)
    assert (headers.id, headers.retries, headers.root_id, headers.group) == ("i", 2, "i", "g")
    assert headers_as_mapping(retry.headers)["x-tenant"] == 7
    assert before + 29 < due_at(reply) < before + 40
    assert headers.eta_at == pytest.approx(due_at(reply), abs=0.001)
    assert (retry.exchange, retry.routing_key, retry.priority) == ("", "mail", 4)
    assert (retry.body, retry.task_id, retry.reply_to) == (payload.delivery.body, "i", "answers")


def test_a_retry_may_change_the_arguments_and_name_its_time(app: App) -> None:
    eta = datetime.now(timezone.utc) + timedelta(hours=1)

    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask, url: str, tries: int = 0) -> None:
        self.retry(args=("other",), kwargs={"tries": tries + 1}, eta=eta)

    retry = retry_of(run(app, work_of(fetch, ("x",))))

    args, kwargs, _ = decode_body(retry.body, retry.content_type)
    assert (args, kwargs) == (["other"], {"tries": 1})
    assert retry.due_at == eta.timestamp()
    assert decode_headers(retry.headers).argsrepr == "('other',)"


def test_the_last_retry_is_followed_by_the_original_exception(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=3)
    def fetch(self: BoundTask) -> None:
        self.retry(exc=ConnectionError("down"))

    reply = run(app, work_of(fetch, changes={"retries": 3}))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), ConnectionError)


def test_the_last_retry_without_a_cause_says_so(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=0)
    def fetch(self: BoundTask) -> None:
        self.retry()

    assert isinstance(error_of(run(app, work_of(fetch))), MaxRetriesExceededError)


def test_retries_of_a_task_without_limit_go_on(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=None)
    def fetch(self: BoundTask) -> None:
        self.retry()

    assert run(app, work_of(fetch, changes={"retries": 1000})).end is End.RETRIED


def test_the_message_may_limit_the_retries_and_set_their_delay(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,))
    def fetch() -> None:
        raise OSError("x")

    before = clock.now()
    again = run(app, work_of(fetch, max_retries=9, retry_delay=50, changes={"retries": 8}))
    last = run(app, work_of(fetch, max_retries=9, changes={"retries": 9}))

    assert before + 49 < due_at(again) < before + 60
    assert decode_headers(retry_of(again).headers).taskd_max_retries == 9
    assert last.end is End.FAILED


def test_an_automatic_retry_backs_off(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=2, retry_jitter=False, max_retries=20)
    def fetch() -> None:
        raise ConnectionError("down")

    for retries, delay_s in [(0, 2), (1, 4), (4, 32), (15, 600)]:
        before = clock.now()
        reply = run(app, work_of(fetch, changes={"retries": retries}))
        assert reply.end is End.RETRIED
        assert before + delay_s <= due_at(reply) < before + delay_s + 1


def test_jitter_stays_below_the_ceiling(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=8)
    def fetch() -> None:
        raise ConnectionError("down")

    before = clock.now()
    for _ in range(20):
        assert before <= due_at(run(app, work_of(fetch))) <= clock.now() + 8


def test_without_backoff_the_delay_counts(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=False, retry_delay=70)
    def fetch() -> None:
        raise ConnectionError("down")

    before = clock.now()
    assert before + 69 < due_at(run(app, work_of(fetch))) < before + 80


@pytest.mark.parametrize(("named", "waited"), [(120, 120), (0.5, 0.5), (0, 0)])
def test_an_exception_may_name_the_wait_before_the_retry(app: App, named: float, waited: float) -> None:
    class TooManyRequests(OSError):
        retry_after = named

    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=30, retry_jitter=False)
    def fetch() -> None:
        raise TooManyRequests

    before = clock.now()

    assert before + waited <= due_at(run(app, work_of(fetch))) < before + waited + 5


@pytest.mark.parametrize("named", [None, "soon", -1, float("nan"), float("inf"), True, 1e300])
def test_a_wait_that_makes_no_sense_is_as_if_it_were_not_there(app: App, named: object) -> None:
    class TooManyRequests(OSError):
        retry_after = named

    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=30, retry_jitter=False)
    def fetch() -> None:
        raise TooManyRequests

    before = clock.now()

    assert before + 30 <= due_at(run(app, work_of(fetch))) < before + 35


def test_a_wait_that_cannot_be_read_is_no_obstacle(app: App) -> None:
    class TooManyRequests(OSError):
        @property
        def retry_after(self) -> float:
            raise RuntimeError("no")

    @app.task(name="fetch", retry_for=(OSError,))
    def fetch() -> None:
        raise TooManyRequests

    assert run(app, work_of(fetch)).end is End.RETRIED


def test_only_the_named_exceptions_are_retried(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), dont_retry_for=(FileNotFoundError,))
    def fetch(kind: str) -> None:
        raise {"file": FileNotFoundError, "value": ValueError, "connection": ConnectionError}[kind]("x")

    assert run(app, work_of(fetch, ("file",))).end is End.FAILED
    assert run(app, work_of(fetch, ("value",))).end is End.FAILED
    assert run(app, work_of(fetch, ("connection",))).end is End.RETRIED


def test_a_raised_retry_counts_like_a_called_one(app: App) -> None:
    @app.task(name="fetch", max_retries=1)
    def fetch() -> None:
        raise Retry(ValueError("x"), countdown=1)

    assert run(app, work_of(fetch)).end is End.RETRIED
    assert isinstance(error_of(run(app, work_of(fetch, changes={"retries": 1}))), ValueError)


def test_a_retry_that_cannot_be_written_is_a_failure(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> None:
        self.retry(args=(object(),))

    assert run(app, work_of(fetch)).end is End.FAILED


# -- other ends ---------------------------------------------------------------------------------


def test_an_ignored_task_stores_nothing(app: App) -> None:
    @app.task(name="t")
    def task() -> None:
        raise Ignore("not now")

    reply = run(app, work_of(task))

    assert (reply.end, reply.record) == (End.IGNORED, b"")


def test_a_rejected_task_is_dead_lettered_and_answered(app: App) -> None:
    @app.task(name="t")
    def task(*, requeue: bool) -> None:
        raise Reject("bad input", requeue=requeue)

    dead = run(app, work_of(task, kwargs={"requeue": False}))
    again = run(app, work_of(task, kwargs={"requeue": True}))

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

    reply = run(app, work_of(task, **changes))

    assert reply.end is End.REJECTED
    assert reason in reply.text
    assert isinstance(error_of(reply), TaskRejected)


def test_a_task_of_a_chord_is_dead_lettered_and_whoever_waits_for_the_chord_is_answered(app: App) -> None:
    @app.task(name="t")
    def task() -> None:
        raise AssertionError("it must not run")

    body = json.dumps([[], {}, {"chord": {"task": "sum", "options": {"task_id": "sum-1"}}}]).encode()
    reply = run(app, work_of(task, body=body, changes={"group": "g"}))

    assert reply.end is End.REJECTED
    assert "does not count its parts" in reply.text
    assert [(part.group, b"sum-1" in part.body) for part in reply.parts] == [("g", True)]


def test_an_unknown_task_and_broken_headers_are_dead_lettered(app: App) -> None:
    @app.task(name="t")
    def task() -> None:
        pass

    assert run(app, work_of(task, changes={"task": "other"})).end is End.REJECTED
    assert run(app, work_of(task, changes={"retries": "x"})).end is End.REJECTED


# -- the app ------------------------------------------------------------------------------------


def test_the_task_table_has_what_the_parent_needs(app: App) -> None:
    @app.task(name="t", acks="early", ignore_result=True, soft_time_limit=1, time_limit=2)
    def task() -> None:
        pass

    (options,) = task_table(app)

    assert (options.name, options.acks, options.ignore_result) == ("t", Acks.EARLY, True)
    assert (options.soft_time_limit, options.time_limit) == (1, 2)


def test_an_object_that_is_no_app_is_named() -> None:
    with pytest.raises(ResolveError, match=r"builtins\.dict.*taskd\.App"):
        load_app("json.decoder:BACKSLASH")


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
    assert isinstance(error_of(run(app, work_of(fail))), ValueError)


def test_a_retry_takes_celerys_options(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=None)
    def fetch(self: BoundTask, url: str, depth: int = 0) -> None:
        raise self.retry(
            (url, depth + 1),
            None,
            ValueError("x"),
            countdown=timedelta(minutes=5),
            queue="slow",
            priority=2,
            expires=900,
            time_limit=30,
            headers={"try": "again"},
            serializer="json",
            retry_policy={"max_retries": 3},
        )

    before = clock.now()
    reply = run(app, work_of(fetch, ("u",), {"depth": 1}))
    retry = retry_of(reply)

    headers = headers_as_mapping(retry.headers)
    assert (retry.routing_key, retry.priority, headers["try"]) == ("slow", 2, "again")
    expires_at = decode_headers(retry.headers).expires_at
    assert expires_at is not None
    assert before + 300 <= due_at(reply) <= clock.now() + 300
    assert before + 900 <= expires_at <= clock.now() + 900
    assert headers["timelimit"] == [30, None]
    assert decode_body(retry.body, "application/json")[:2] == (["u", 2], {})


@pytest.mark.parametrize(
    ("sent", "again", "expected"),
    [
        (((), {"a": 1, "b": 2}), ((9,), None), ([9], {"b": 2})),
        (((1, 2), {}), (None, {"b": 9}), ([1, 9], {})),
        (((1,), {"b": 2}), (None, {"b": 9}), ([1], {"b": 9})),
        (((1, 2, 3), {}), (None, {"c": 9}), ([1, 2, 3], {"c": 9})),
        (((1, 2), {"c": 3}), ((), {}), ([], {})),
    ],
)
def test_a_retry_may_name_what_was_given_by_its_place_and_the_other_way_round(
    app: App, sent: tuple[Any, ...], again: tuple[Any, ...], expected: tuple[Any, ...]
) -> None:
    @app.task(bind=True, name="fetch", max_retries=None)
    def fetch(self: BoundTask, a: int, b: int = 0, *rest: int, c: int = 0) -> None:
        self.retry(*again)

    body = retry_of(run(app, work_of(fetch, *sent))).body

    assert decode_body(body, "application/json")[:2] == expected


def test_an_option_that_a_retry_does_not_have_is_named(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> None:
        self.retry(qeue="slow")

    error = error_of(run(app, work_of(fetch)))

    assert str(error) == 'task "fetch" cannot be retried with qeue: no such option, did you mean "queue"?'


@pytest.mark.parametrize("fails", [False, True])
def test_a_retry_that_is_not_thrown_follows_a_run_that_ends_as_it_does(app: App, fails: bool) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> str:
        self.retry(countdown=1, throw=False)
        if fails:
            raise ValueError("x")
        return "done for now"

    reply = run(app, work_of(fetch, task_id="i"))

    assert reply.end is (End.FAILED if fails else End.SUCCEEDED)
    (again,) = reply.callbacks
    assert (again.task_id, headers_as_mapping(again.headers)["retries"]) == ("i", 1)


def test_a_task_may_lift_its_own_limit_as_in_celery(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=1)
    def fetch(self: BoundTask) -> None:
        assert self.max_retries == 1
        self.max_retries = None
        self.retry()

    assert run(app, work_of(fetch, changes={"retries": 7})).end is End.RETRIED


def test_celerys_names_are_there(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> list[object]:
        return [self.AsyncResult("j").id, self.request.utc]

    assert decode_record(run(app, work_of(fetch)).record).value() == ["j", True]
