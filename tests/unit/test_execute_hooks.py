"""Functions of the user around each task."""

from __future__ import annotations

import asyncio

import pytest

from taskd import App
from taskd.app.control_flow import Ignore, Reject
from taskd.base.errors import SoftTimeLimitExceeded
from taskd.execution.native.execute import Executor
from taskd.protocol.execution import End, decode_reply, encode
from tests.unit.executing import assignment_of, run


@pytest.fixture
def seen(app: App) -> list[str]:
    """What happened, in order: two hooks of each kind write it down."""
    seen = []
    for number in "12":
        app.hooks.before_task(lambda request, number=number: seen.append(f"before {number} {request.id}"))
        for kind in ("after_task", "on_failure", "on_retry"):
            getattr(app.hooks, kind)(
                lambda request, ended, kind=kind, number=number: seen.append(f"{kind} {number} {ended.state}")
            )
    return seen


@pytest.mark.parametrize("native", [False, True])
def test_hooks_run_in_order_around_the_task(app: App, seen: list[str], native: bool) -> None:
    @app.task(name="t")
    async def task() -> None:
        seen.append("task")

    execute, payload = Executor(app, "w@h"), encode(assignment_of(task, task_id="i"))
    reply = asyncio.run(execute.acall(payload)) if native else execute(payload)

    assert decode_reply(reply).end is End.SUCCEEDED
    assert seen == ["before 1 i", "before 2 i", "task", "after_task 2 SUCCESS", "after_task 1 SUCCESS"]


def test_each_end_has_its_hooks(app: App, seen: list[str]) -> None:
    @app.task(name="t", retry_for=(OSError,))
    def task(kind: str) -> None:
        raise {"os": OSError, "value": ValueError, "ignore": Ignore, "reject": Reject}[kind]("x")

    for kind in ("os", "value", "ignore", "reject"):
        run(app, assignment_of(task, (kind,)))

    assert [entry for entry in seen if " 1 " in entry and "before" not in entry] == [
        "on_retry 1 RETRY",
        "after_task 1 RETRY",
        "on_failure 1 FAILURE",
        "after_task 1 FAILURE",
        "after_task 1 IGNORED",
        "after_task 1 REJECTED",
    ]


def test_a_hook_learns_the_cause_and_the_traceback(app: App) -> None:
    ends = []
    app.hooks.on_failure(lambda _request, ended: ends.append(ended))

    @app.task(name="t")
    def task() -> None:
        raise KeyError("x")

    run(app, assignment_of(task))

    (ended,) = ends
    assert isinstance(ended.error, KeyError)
    assert "in task" in ended.traceback
    assert ended.text == "KeyError: 'x'"


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_a_hook_that_raises_is_logged_and_changes_nothing(
    app: App, seen: list[str], caplog: pytest.LogCaptureFixture, error: type[BaseException]
) -> None:
    @app.hooks.before_task
    def broken_before(request: object) -> None:
        raise error("hook")

    @app.hooks.after_task
    def broken_after(request: object, ended: object) -> None:
        raise error("hook")

    @app.task(name="t")
    def task() -> None:
        seen.append("task")

    reply = run(app, assignment_of(task, task_id="i"))

    assert reply.end is End.SUCCEEDED
    assert seen[2:] == ["task", "after_task 2 SUCCESS", "after_task 1 SUCCESS"]
    assert "task=t id=i hook " in caplog.text
    assert "broken_before failed" in caplog.text
    assert "broken_after failed" in caplog.text


def test_a_soft_limit_that_strikes_in_a_hook_is_the_tasks(app: App) -> None:
    @app.hooks.before_task
    def slow(request: object) -> None:
        raise SoftTimeLimitExceeded("1 s")

    @app.task(name="t")
    def task() -> None:
        raise AssertionError("it must not run")

    assert "SoftTimeLimitExceeded" in run(app, assignment_of(task)).text


def test_a_hook_knows_the_current_request(app: App) -> None:
    seen = []
    app.hooks.before_task(lambda request: seen.append(app.current_request() is request))
    app.hooks.after_task(lambda request, _ended: seen.append(app.current_request() is request))

    @app.task(name="t")
    def task() -> None: ...

    run(app, assignment_of(task))

    assert seen == [True, True]
