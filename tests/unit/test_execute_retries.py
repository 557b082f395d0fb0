"""A task that runs again: when, with what, and how often."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.app.control_flow import Retry
from taskd.base import clock
from taskd.protocol.exceptions import MaxRetriesExceededError
from taskd.protocol.execution import End
from taskd.protocol.message import decode_body, decode_headers, headers_as_mapping
from tests.unit.executing import assignment_of, due_at, error_of, retry_of, run


def test_arguments_that_do_not_fit_are_a_type_error_and_never_retried(app: App) -> None:
    @app.task(name="add", retry_for=(Exception,))
    def add(x: int) -> int:
        return x

    reply = run(app, assignment_of(add, (1, 2)))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), TypeError)


def test_a_retry_is_the_same_message_once_more(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask, url: str) -> None:
        try:
            raise ConnectionError("down")
        except ConnectionError:
            self.retry(countdown=30)

    payload = assignment_of(
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

    retry = retry_of(run(app, assignment_of(fetch, ("x",))))

    args, kwargs, _ = decode_body(retry.body, retry.content_type)
    assert (args, kwargs) == (["other"], {"tries": 1})
    assert retry.due_at == eta.timestamp()
    assert decode_headers(retry.headers).argsrepr == "('other',)"


def test_the_last_retry_is_followed_by_the_original_exception(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=3)
    def fetch(self: BoundTask) -> None:
        self.retry(exc=ConnectionError("down"))

    reply = run(app, assignment_of(fetch, changes={"retries": 3}))

    assert reply.end is End.FAILED
    assert isinstance(error_of(reply), ConnectionError)


def test_the_last_retry_without_a_cause_says_so(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=0)
    def fetch(self: BoundTask) -> None:
        self.retry()

    assert isinstance(error_of(run(app, assignment_of(fetch))), MaxRetriesExceededError)


def test_retries_of_a_task_without_limit_go_on(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=None)
    def fetch(self: BoundTask) -> None:
        self.retry()

    assert run(app, assignment_of(fetch, changes={"retries": 1000})).end is End.RETRIED


def test_the_message_may_limit_the_retries_and_set_their_delay(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,))
    def fetch() -> None:
        raise OSError("x")

    before = clock.now()
    again = run(app, assignment_of(fetch, max_retries=9, retry_delay=50, changes={"retries": 8}))
    last = run(app, assignment_of(fetch, max_retries=9, changes={"retries": 9}))

    assert before + 49 < due_at(again) < before + 60
    assert decode_headers(retry_of(again).headers).taskd_max_retries == 9
    assert last.end is End.FAILED


def test_an_automatic_retry_backs_off(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=2, retry_jitter=False, max_retries=20)
    def fetch() -> None:
        raise ConnectionError("down")

    for retries, delay_s in [(0, 2), (1, 4), (4, 32), (15, 600)]:
        before = clock.now()
        reply = run(app, assignment_of(fetch, changes={"retries": retries}))
        assert reply.end is End.RETRIED
        assert before + delay_s <= due_at(reply) < before + delay_s + 1


def test_jitter_stays_below_the_ceiling(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=8)
    def fetch() -> None:
        raise ConnectionError("down")

    before = clock.now()
    for _ in range(20):
        assert before <= due_at(run(app, assignment_of(fetch))) <= clock.now() + 8


def test_without_backoff_the_delay_counts(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=False, retry_delay=70)
    def fetch() -> None:
        raise ConnectionError("down")

    before = clock.now()
    assert before + 69 < due_at(run(app, assignment_of(fetch))) < before + 80


def refused_with(app: App, named: object) -> BoundTask:
    """Make a task that a server refuses; the exception names a wait of its own, where 30 s are the rule."""

    class TooManyRequests(OSError):
        retry_after = named

    @app.task(name="fetch", retry_for=(OSError,), retry_backoff=30, retry_jitter=False)
    def fetch() -> None:
        raise TooManyRequests

    return fetch


@pytest.mark.parametrize(("named", "waited"), [(120, 120), (0.5, 0.5), (0, 0)])
def test_an_exception_may_name_the_wait_before_the_retry(app: App, named: float, waited: float) -> None:
    fetch = refused_with(app, named)
    before = clock.now()

    assert before + waited <= due_at(run(app, assignment_of(fetch))) < before + waited + 5


@pytest.mark.parametrize("named", [None, "soon", -1, float("nan"), float("inf"), True, 1e300])
def test_a_wait_that_makes_no_sense_is_as_if_it_were_not_there(app: App, named: object) -> None:
    fetch = refused_with(app, named)
    before = clock.now()

    assert before + 30 <= due_at(run(app, assignment_of(fetch))) < before + 35


def test_a_wait_that_cannot_be_read_is_no_obstacle(app: App) -> None:
    class TooManyRequests(OSError):
        @property
        def retry_after(self) -> float:
            raise RuntimeError("no")

    @app.task(name="fetch", retry_for=(OSError,))
    def fetch() -> None:
        raise TooManyRequests

    assert run(app, assignment_of(fetch)).end is End.RETRIED


def test_only_the_named_exceptions_are_retried(app: App) -> None:
    @app.task(name="fetch", retry_for=(OSError,), dont_retry_for=(FileNotFoundError,))
    def fetch(kind: str) -> None:
        raise {"file": FileNotFoundError, "value": ValueError, "connection": ConnectionError}[kind]("x")

    assert run(app, assignment_of(fetch, ("file",))).end is End.FAILED
    assert run(app, assignment_of(fetch, ("value",))).end is End.FAILED
    assert run(app, assignment_of(fetch, ("connection",))).end is End.RETRIED


def test_a_raised_retry_counts_like_a_called_one(app: App) -> None:
    @app.task(name="fetch", max_retries=1)
    def fetch() -> None:
        raise Retry(ValueError("x"), countdown=1)

    assert run(app, assignment_of(fetch)).end is End.RETRIED
    assert isinstance(error_of(run(app, assignment_of(fetch, changes={"retries": 1}))), ValueError)


def test_a_retry_that_cannot_be_written_is_a_failure(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> None:
        self.retry(args=(object(),))

    assert run(app, assignment_of(fetch)).end is End.FAILED


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
    reply = run(app, assignment_of(fetch, ("u",), {"depth": 1}))
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

    body = retry_of(run(app, assignment_of(fetch, *sent))).body

    assert decode_body(body, "application/json")[:2] == expected


def test_an_option_that_a_retry_does_not_have_is_named(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> None:
        self.retry(qeue="slow")

    error = error_of(run(app, assignment_of(fetch)))

    assert str(error) == 'task "fetch" cannot be retried with qeue: no such option, did you mean "queue"?'


@pytest.mark.parametrize("fails", [False, True])
def test_a_retry_that_is_not_thrown_follows_a_run_that_ends_as_it_does(app: App, fails: bool) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask) -> str:
        self.retry(countdown=1, throw=False)
        if fails:
            raise ValueError("x")
        return "done for now"

    reply = run(app, assignment_of(fetch, task_id="i"))

    assert reply.end is (End.FAILED if fails else End.SUCCEEDED)
    (again,) = reply.callbacks
    assert (again.task_id, headers_as_mapping(again.headers)["retries"]) == ("i", 1)


def test_a_task_may_lift_its_own_limit_as_in_celery(app: App) -> None:
    @app.task(bind=True, name="fetch", max_retries=1)
    def fetch(self: BoundTask) -> None:
        assert self.max_retries == 1
        self.max_retries = None
        self.retry()

    assert run(app, assignment_of(fetch, changes={"retries": 7})).end is End.RETRIED
