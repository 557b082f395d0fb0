"""Base classes beside a task: the way around its runs, and Celery's handlers in Celery's words."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from taskd import App, TaskBase
from taskd.app.task_base import ErrorInfo
from taskd.base.errors import SoftTimeLimitExceeded
from taskd.execution.native.execute import Executor
from taskd.execution.native.native_app import table_of
from taskd.protocol.execution import Cause, DecidedEnd, End, decode_reply, encode
from taskd.protocol.results import failure_record
from tests.unit.executing import assignment_of, error_of, run

seen: list[str] = []


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    seen.clear()


class Telling(TaskBase):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        seen.append(f"into {self.name} {self.request.id}")
        return super().__call__(*args, **kwargs)

    def before_start(self, task_id: str, args: Any, kwargs: Any) -> None:
        seen.append(f"before {task_id} {list(args)} {dict(kwargs)}")

    def on_success(self, retval: object, task_id: str, args: Any, kwargs: Any) -> None:
        seen.append(f"success {retval} {task_id}")

    def on_retry(
        self, exc: BaseException | None, task_id: str, args: Any, kwargs: Any, einfo: ErrorInfo
    ) -> None:
        seen.append(f"retry {exc!r} {einfo.type is type(exc)}")

    def on_failure(
        self, exc: BaseException | None, task_id: str, args: Any, kwargs: Any, einfo: ErrorInfo
    ) -> None:
        seen.append(f"failure {exc!r} {'Traceback' in str(einfo)}")

    def after_return(self, status: str, retval: object, *rest: Any) -> None:
        seen.append(f"return {status} {retval!r}")


class Outer(TaskBase):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        seen.append("outer")
        return self.run(*args, **kwargs)


def test_a_base_is_around_the_run_and_hears_of_its_success(app: App) -> None:
    @app.task(name="add", base=[Outer, Telling])
    def add(left: int, right: int) -> int:
        return left + right

    run(app, assignment_of(add, (1,), {"right": 2}, task_id="i"))

    assert seen == [
        "before i [1] {'right': 2}",
        "outer",
        "into add i",
        "success 3 i",
        "return SUCCESS 3",
    ]


def test_a_failure_and_a_retry_have_their_handlers(app: App) -> None:
    @app.task(name="t", base=Telling, retry_for=(OSError,), bind=True)
    def task(_self: Any, kind: str) -> None:
        raise {"os": OSError("away"), "value": ValueError("bad")}[kind]

    run(app, assignment_of(task, ("os",)))
    assert seen[-1] == "retry OSError('away') True"
    run(app, assignment_of(task, ("value",)))
    assert seen[-2:] == ["failure ValueError('bad') True", "return FAILURE ValueError('bad')"]


@pytest.mark.parametrize("native", [False, True])
def test_a_base_is_around_a_coroutine(app: App, native: bool) -> None:
    @app.task(name="t", base=(Telling,))
    async def task() -> int:
        await asyncio.sleep(0)
        return 7

    execute, payload = Executor(app, "w@h"), encode(assignment_of(task, task_id="i"))
    reply = asyncio.run(execute.acall(payload)) if native else execute(payload)

    assert decode_reply(reply).end is End.SUCCEEDED
    assert "into t i" in seen
    assert "success 7 i" in seen


def test_a_handler_that_raises_changes_nothing_but_before_start_fails_the_run(
    app: App, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(TaskBase):
        def on_success(self, *args: Any) -> None:
            raise RuntimeError("in a handler")

    class Guarding(TaskBase):
        def before_start(self, *args: Any) -> None:
            raise PermissionError("not now")

    @app.task(name="broken", base=Broken)
    def broken() -> None: ...

    @app.task(name="guarded", base=Guarding)
    def guarded() -> None:
        seen.append("ran")

    assert run(app, assignment_of(broken)).end is End.SUCCEEDED
    assert "a handler of " in caplog.text
    assert "in a handler" in caplog.text
    assert type(error_of(run(app, assignment_of(guarded)))) is PermissionError
    assert seen == []


def test_the_soft_limit_in_a_handler_does_not_cost_the_end(app: App) -> None:
    class Slow(TaskBase):
        def on_success(self, *args: Any) -> None:
            raise SoftTimeLimitExceeded("late")

    @app.task(name="t", base=Slow)
    def task() -> None: ...

    assert run(app, assignment_of(task)).end is End.SUCCEEDED


def test_a_result_that_cannot_be_stored_is_a_failure_for_the_base_too(app: App) -> None:
    @app.task(name="t", base=Telling)
    def task() -> object:
        return object()

    assert run(app, assignment_of(task)).end is End.FAILED
    assert [each for each in seen if each.startswith("failure")] != []


def test_an_end_that_the_worker_decides_is_told_to_the_base(app: App) -> None:
    @app.task(name="t", base=Telling)
    def task() -> None: ...

    @app.task(name="plain")
    def plain() -> None: ...

    assert table_of(app).hears_ends
    given = assignment_of(task, task_id="i")
    record = failure_record("i", TimeoutError("too long"), done_at=1.0)
    Executor(app, "w@h").execute(
        type(given)(given.delivery, DecidedEnd("i", "FAILURE", record, Cause.TIMED_OUT))
    )

    assert seen[0].startswith("failure TimeoutError('too long')")
    other = assignment_of(plain, task_id="p")
    Executor(app, "w@h").execute(type(other)(other.delivery, DecidedEnd("p", "FAILURE", record, Cause.LOST)))
    assert len(seen) == 2


def test_a_direct_call_goes_through_the_base_and_arguments_are_checked_by_the_function(app: App) -> None:
    @app.task(name="t", base=Outer)
    def task(one: int) -> int:
        return one

    assert task(3) == 3
    assert seen == ["outer"]
    with pytest.raises(TypeError, match="one"):
        task.delay()  # type: ignore[call-arg]


@pytest.mark.parametrize("wrong", [object, "Telling", [Telling, int], None])
def test_anything_else_as_a_base_is_refused(app: App, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"base takes classes that derive from taskd\.TaskBase"):
        app.task(base=wrong)
