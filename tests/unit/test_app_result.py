"""Waiting for results and reading them."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from uuid import uuid4

import pytest

from taskd import App
from taskd.base.errors import TaskdError
from taskd.protocol.exceptions import TaskRevokedError
from taskd.protocol.results import failure_record, retry_record, revoked_record, success_record
from taskd.results.base import StoredResult
from taskd.sending.result import ResultTimeout


def _store(app: App, task_id: str, state: str, record: bytes) -> None:
    app.connections.results().store([StoredResult(task_id, state, record, None)])


def _succeed(app: App, task_id: str, value: object) -> None:
    _store(app, task_id, "SUCCESS", success_record(task_id, value, done_at=0.0))


def test_a_task_without_record_is_pending(app: App) -> None:
    result = app.result("i")

    assert (result.state, result.ready(), result.successful(), result.info) == ("PENDING", False, False, None)


def test_a_value_is_returned(app: App) -> None:
    _succeed(app, "i", {"n": 1})
    result = app.result("i")

    assert result.get(timeout=60) == {"n": 1}
    assert (result.state, result.ready(), result.successful(), result.info) == (
        "SUCCESS",
        True,
        True,
        {"n": 1},
    )


class Falsy(Exception):
    def __bool__(self) -> bool:
        return False


def test_an_exception_that_is_falsy_is_an_exception(app: App) -> None:
    _store(app, "i", "FAILURE", failure_record("i", Falsy("x"), done_at=0.0))

    assert isinstance(app.result("i").info, Falsy)
    with pytest.raises(Falsy):
        app.result("i").get(timeout=60)


@pytest.mark.parametrize(
    "children", ["[" * 900 + "]" * 900, '[["\\ud800"], 7, null, {}, [[]], [["a", null], null]]', '["a"]']
)
def test_odd_children_in_a_record_are_passed_over(app: App, children: str) -> None:
    fields = '"status": "SUCCESS", "result": NaN, "traceback": "\\ud800", "task_id": "i"'
    record = f'{{{fields}, "children": {children}}}'
    _store(app, "i", "SUCCESS", record.encode())

    assert [child.id for child in app.result("i").children] in ([], ["a"])
    traceback = app.result("i").traceback
    assert traceback is not None
    assert traceback.encode()


def test_an_exception_is_raised_with_the_traceback_in_the_worker(app: App) -> None:
    _store(app, "i", "FAILURE", failure_record("i", KeyError("k"), done_at=0.0, traceback="line 7"))
    result = app.result("i")

    with pytest.raises(KeyError, match="k") as caught:
        result.get(timeout=60)

    assert "line 7" in str(caught.value.__cause__)
    assert (result.state, result.ready(), result.successful(), result.traceback) == (
        "FAILURE",
        True,
        False,
        "line 7",
    )
    assert isinstance(result.info, KeyError)


def test_a_revoked_task_raises(app: App) -> None:
    _store(app, "i", "REVOKED", revoked_record("i", "expired", done_at=0.0))

    with pytest.raises(TaskRevokedError, match="expired"):
        app.result("i").get(timeout=60)


def test_a_retried_task_is_not_ready(app: App) -> None:
    _store(app, "i", "RETRY", retry_record("i", ValueError("x"), traceback=None))
    result = app.result("i")

    assert (result.state, result.ready()) == ("RETRY", False)
    assert isinstance(result.info, ValueError)
    with pytest.raises(ResultTimeout):
        result.get(timeout=0)


def test_a_time_out_is_ours_and_pythons(app: App) -> None:
    with pytest.raises(TimeoutError, match=r"task i .*PENDING") as caught:
        app.result("i").get(timeout=0)

    assert isinstance(caught.value, TaskdError)


def test_get_wakes_when_the_result_is_stored(app: App) -> None:
    result = app.result("i")
    values: list[object] = []
    waiter = threading.Thread(target=lambda: values.append(result.get(timeout=60)))
    waiter.start()

    _succeed(app, "i", 5)
    waiter.join(60)

    assert values == [5]


def test_get_is_awaited(app: App) -> None:
    _succeed(app, "i", 5)

    assert asyncio.run(app.result("i").aget(timeout=60)) == 5


def test_a_forgotten_result_is_pending_again(app: App) -> None:
    _succeed(app, "i", 5)
    result = app.result("i")
    assert result.ready()

    result.forget()

    assert result.state == "PENDING"


def test_all_are_waited_for_in_order(app: App) -> None:
    for number in range(5):
        _succeed(app, f"i{number}", number)
    results = [app.result(f"i{number}") for number in (3, 1, 1, 4)]

    assert app.wait_all(results, timeout=60) == [3, 1, 1, 4]
    assert app.wait_all([]) == []


def test_waiting_for_all_raises_the_first_failure(app: App) -> None:
    _succeed(app, "good", 1)
    _store(app, "bad", "FAILURE", failure_record("bad", ValueError("x"), done_at=0.0))

    with pytest.raises(ValueError, match="x"):
        app.wait_all([app.result("good"), app.result("bad")], timeout=60)


def test_waiting_for_all_ends_at_the_deadline(app: App) -> None:
    _succeed(app, "good", 1)

    with pytest.raises(ResultTimeout, match="1 of 2"):
        app.wait_all([app.result("good"), app.result("never")], timeout=0)


def test_a_task_that_keeps_no_result_is_not_waited_for(app: App) -> None:
    result = app.send_task("add", ignore_result=True)

    with pytest.raises(TaskdError, match="ignore_result"):
        result.get()


def test_results_that_are_switched_off_are_not_waited_for() -> None:
    app = App(broker=f"memory://{uuid4()}")
    result = app.send_task("add")

    with pytest.raises(TaskdError, match="switched off"):
        result.get()
    app.close()


def test_a_time_out_says_what_is_known_of_a_task_that_has_not_begun(app: App) -> None:
    later = app.send_task("add", countdown=3600, queue="mail")
    app.send_task("add", queue="mail")
    waiting = app.send_task("add", queue="mail")

    for result, said in (
        (later, "PENDING: it is not due before 2"),
        (waiting, r'PENDING: in its queue "mail" 2 wait and 0 are with workers: is a worker up'),
        (app.result("unknown"), "PENDING: nothing has begun it, or there is no such task"),
    ):
        with pytest.raises(ResultTimeout, match=said):
            result.get(timeout=0)
    with pytest.raises(ResultTimeout, match=f"2 of 2 .* of the first of them, {later.id}: it is PENDING"):
        app.gather([later, waiting], timeout=0)


def test_a_time_out_says_that_no_worker_serves_the_queue(tmp_path: Path) -> None:
    file = tmp_path / "taskd.toml"
    stores = 'broker = "sqlite://b.db"\nresults = "sqlite://b.db"\napp = "a:b"\n'
    file.write_text(stores + '[worker.main]\nqueues = ["default"]\n')
    app = App(config=str(file))

    with pytest.raises(
        ResultTimeout, match=r'no worker of this file consumes from the queue "defalt".*"default"'
    ):
        app.send_task("add", queue="defalt").get(timeout=0)
    app.close()
