"""Waiting for many: by arrival, in order, with failures as values, and in chunks."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, cast

import pytest

from taskd import App, AsyncResult
from taskd.app.chunk_task import add_chunk_task
from taskd.app.mapping import calls_of
from taskd.base.errors import TaskdError
from taskd.execution.native.execute import Executor
from taskd.protocol.execution import Assignment
from taskd.protocol.results import failure_record, success_record
from taskd.results.base import StoredResult
from taskd.sending.result import ResultTimeout


def succeed(app: App, task_id: str, value: object) -> None:
    record = success_record(task_id, value, done_at=0.0)
    app.connections.results().store([StoredResult(task_id, "SUCCESS", record, None)])


def fail(app: App, task_id: str) -> None:
    record = failure_record(task_id, ValueError(task_id), done_at=0.0)
    app.connections.results().store([StoredResult(task_id, "FAILURE", record, None)])


def results(app: App, names: str) -> list[AsyncResult[object]]:
    return [app.result(name) for name in names.split()]


def test_results_come_as_they_arrive_and_each_that_was_given_comes(app: App) -> None:
    succeed(app, "a", 1)
    given = results(app, "c b a a")
    given[3].get(timeout=60)
    arriving = app.as_completed(given, timeout=60)

    assert [next(arriving) for _ in range(2)] == [given[3], given[2]]
    fail(app, "b")
    assert next(arriving) is given[1]
    succeed(app, "c", 3)
    assert [each.get(0) for each in arriving] == [3]
    assert list(app.as_completed([])) == []


def test_a_wait_that_ended_too_early_goes_on_where_it_was(app: App) -> None:
    succeed(app, "a", 1)
    given = results(app, "a b")

    with pytest.raises(ResultTimeout, match="1 of 2"):
        app.gather(given, timeout=0)
    succeed(app, "b", 2)
    app.result("a").forget()

    assert app.gather(given, timeout=60) == [1, 2]


def test_failures_hide_nothing_if_they_are_to_be_values(app: App) -> None:
    for name in "ac":
        succeed(app, name, name)
    for name in "bd":
        fail(app, name)
    seen: list[tuple[int, int]] = []
    given = results(app, "a b c d")

    a, b, c, d = app.gather(given, return_exceptions=True, progress=lambda *at: seen.append(at))

    assert (a, str(b), c, str(d)) == ("a", "b", "c", "d")
    assert isinstance(b, ValueError)
    assert seen == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert len(asyncio.run(app.agather(results(app, "a b"), timeout=60))) == 2


def test_the_first_failure_that_comes_ends_the_wait_for_the_others(app: App) -> None:
    fail(app, "b")

    with pytest.raises(ValueError, match="b"):
        app.gather(results(app, "never b"), timeout=60)


def test_a_task_that_keeps_no_result_is_not_collected(app: App) -> None:
    with pytest.raises(TaskdError, match="ignore_result"):
        app.gather([app.send_task("add", ignore_result=True)])


def test_what_is_not_a_result_is_refused_with_what_is_expected(app: App) -> None:
    with pytest.raises(TypeError, match=r"'some-id' is not a result; expected what delay or"):
        app.gather(cast("Any", ["some-id"]))


@pytest.fixture
def worker(app: App) -> Iterator[None]:
    """Runs what is sent, in a thread, as a worker would."""
    over = threading.Event()

    def work() -> None:
        add_chunk_task(app)
        executor = Executor(app, "w@h")
        intake = app.connections._broker().intake("w", ["default"], lease_s=60.0)
        while not over.wait(0.001):
            for delivery in intake.claim(10):
                reply = executor.execute(Assignment(delivery))
                record = StoredResult(delivery.task_id, reply.state, reply.record, None)
                app.connections.results().store([record])
        intake.close()

    thread = threading.Thread(target=work)
    thread.start()
    yield
    over.set()
    thread.join(60)


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize("chunk", [None, 1, 3, 100])
def test_a_task_is_mapped_over_items_in_their_order(app: App, chunk: int | None) -> None:
    @app.task(name="half")
    def half(number: int, *, more: int = 0) -> object:
        if number == 4:
            raise ValueError("four")
        return object() if number == 5 else number // 2 + more

    seen: list[tuple[int, int]] = []
    found = app.map(
        half,
        range(8),
        chunk=chunk,
        timeout=60,
        return_exceptions=True,
        progress=lambda *at: seen.append(at),
    )
    with pytest.raises((ValueError, TaskdError)):
        app.map(half, range(8), chunk=chunk, timeout=60)

    assert [*found[:4], *found[6:]] == [0, 0, 1, 1, 3, 3]
    assert isinstance(found[4], ValueError)
    assert "four" in str(found[4].__cause__)
    assert "cannot be stored" in str(found[5])
    assert seen[-1] == (8, 8)
    assert app.map(half, [], chunk=chunk) == []


@pytest.mark.parametrize(
    "options", [{"retry_for": (OSError,)}, {"rate_limit": "1/s"}, {"acks": "early"}, {"ignore_result": True}]
)
def test_a_chunk_promises_nothing_that_only_a_message_can_keep(app: App, options: dict[str, Any]) -> None:
    task = app.task(name="special", **options)(lambda item: item)

    with pytest.raises(ValueError, match="leave chunk out"):
        app.map(task, [1], chunk=2)
    with pytest.raises(ValueError, match="chunk is 0"):
        app.map(app.task(name="plain")(lambda item: item), [1], chunk=0)


def test_a_chunk_has_the_time_of_all_its_items(app: App) -> None:
    @app.task(time_limit=2, soft_time_limit=1.5, queue="slow")
    def nap(item: int) -> None:
        del item

    first, second = calls_of(nap, range(5), 3)

    assert (first.settings.queue, first.options, second.options) == (
        "slow",
        {"soft_time_limit": 4.5, "time_limit": 6},
        {"soft_time_limit": 3.0, "time_limit": 4},
    )


def test_what_is_no_task_is_not_mapped(app: App) -> None:
    with pytest.raises(TypeError, match="takes a task"):
        app.map(cast("Any", len), ["a"])


def test_a_bar_is_shown_on_standard_error_on_request(app: App, capsys: pytest.CaptureFixture[str]) -> None:
    succeed(app, "a", 1)

    assert app.gather(results(app, "a"), bar=True) == [1]

    assert "1/1" in capsys.readouterr().err
