"""Declaring tasks: names, options, binding, direct calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.app.control_flow import Retry
from taskd.app.naming import default_name
from taskd.app.task import CoroutineTask, Task
from taskd.base.errors import TaskdError
from taskd.protocol.exceptions import MaxRetriesExceededError
from taskd.sending.forms import Acks


@pytest.fixture
def app() -> App:
    # The path does not exist: declaring must not read it.
    return App("/nonexistent/taskd.toml")


def test_a_task_is_named_after_its_module_and_function(app: App) -> None:
    @app.task
    def add(x: int, y: int) -> int:
        """Add."""
        return x + y

    assert add.name == f"{__name__}.add"
    assert app.tasks == {add.name: add}
    assert add.__doc__ == "Add."
    assert list(inspect.signature(add).parameters) == ["x", "y"]


def test_a_task_is_called_like_its_function(app: App) -> None:
    @app.task(name="add")
    def add(x: int, y: int = 1) -> int:
        return x + y

    assert (add(1), add(1, y=2)) == (2, 3)


def test_an_async_function_becomes_a_coroutine_task(app: App) -> None:
    @app.task
    async def crawl() -> int:
        return 1

    @app.task
    def plain() -> int:
        return 1

    coroutine = crawl()
    assert isinstance(crawl, CoroutineTask)
    assert isinstance(plain, Task)
    with pytest.raises(StopIteration, match="1"):
        coroutine.send(None)


def test_a_bound_task_gets_itself_first(app: App) -> None:
    @app.task(bind=True, name="fetch")
    def fetch(self: BoundTask, url: str) -> tuple[BoundTask, str, bool, int]:
        return self, url, self.request.called_directly, self.request.retries

    assert fetch("x") == (fetch, "x", True, 0)


def test_options_are_kept(app: App) -> None:
    @app.task(
        queue="mail", priority=7, acks="early", max_retries=None, retry_for=(OSError,), retry_backoff=False
    )
    def send() -> None:
        pass

    settings = send.settings
    assert (settings.queue, settings.priority, settings.acks) == ("mail", 7, Acks.EARLY)
    assert (settings.max_retries, settings.retry_for, settings.retry_backoff) == (None, (OSError,), 0.0)


@pytest.mark.parametrize(
    ("given", "a_second"), [("10/m", 10 / 60), ("5/s", 5.0), (2, 2.0), ("0", 0.0), ("36/h", 0.01)]
)
def test_a_rate_limit_is_kept_in_tasks_a_second(app: App, given: int | str, a_second: float) -> None:
    @app.task(rate_limit=given)
    def send() -> None:
        pass

    assert send.settings.rate_limit == pytest.approx(a_second)


@pytest.mark.parametrize(
    ("options", "error", "named"),
    [
        ({"priority": 10}, ValueError, "priority"),
        ({"acks": "never"}, ValueError, "acks"),
        ({"max_retries": -1}, ValueError, "max_retries"),
        ({"time_limit": -1}, ValueError, "time_limit"),
        ({"queue": ""}, ValueError, "queue"),
        ({"rate_limit": "ten a minute"}, ValueError, "rate_limit 'ten a minute' is not a rate.*10/m"),
        ({"retry_for": OSError}, TypeError, "retry_for"),
        ({"retry_for": (BaseException,)}, TypeError, "retry_for"),
        ({"qeue": "mail"}, TypeError, "qeue"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(
    app: App, options: dict[str, Any], error: type[Exception], named: str
) -> None:
    with pytest.raises(error, match=named):
        app.task(**options)(print)


def test_a_name_is_given_once(app: App) -> None:
    @app.task(name="add")
    def one() -> None:
        pass

    with pytest.raises(ValueError, match=r'"add" is taken by .*one; give .*two another'):

        @app.task(name="add")
        def two() -> None:
            pass

    assert app.tasks == {"add": one}


def _named_main(monkeypatch: pytest.MonkeyPatch, **attributes: Any) -> Callable[[], None]:
    import types

    main = types.ModuleType("__main__")
    main.__spec__ = None
    vars(main).update(attributes)
    monkeypatch.setitem(__import__("sys").modules, "__main__", main)

    def add() -> None:
        pass

    add.__module__ = "__main__"
    return add


def test_a_script_names_its_tasks_as_a_worker_will_import_them(monkeypatch: pytest.MonkeyPatch) -> None:
    assert default_name(_named_main(monkeypatch, __file__="/srv/shop/tasks.py")) == "tasks.add"


def test_a_module_run_by_name_names_its_tasks_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = type("Spec", (), {"name": "shop.tasks"})()

    assert default_name(_named_main(monkeypatch, __spec__=spec)) == "shop.tasks.add"


def test_a_task_of_an_interactive_session_needs_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(TaskdError, match="name="):
        default_name(_named_main(monkeypatch))


def test_retry_in_a_direct_call_raises_the_cause(app: App) -> None:
    @app.task(bind=True, name="t")
    def fetch(self: BoundTask, *, fail: bool) -> None:
        if not fail:
            self.retry()
        try:
            raise ConnectionError("x")
        except ConnectionError:
            self.retry(countdown=1)

    with pytest.raises(ConnectionError):
        fetch(fail=True)
    with pytest.raises(MaxRetriesExceededError):
        fetch(fail=False)


def test_retry_is_an_exception_of_its_own() -> None:
    assert str(Retry(ValueError("x"))) == "retry after ValueError"


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("time_limit", "5", "seconds; 0 for none"),
        ("max_retries", "x", "a whole number, or None for no limit"),
        ("queue", 5, "text"),
        ("retry_backoff", "yes", "True, False, or seconds"),
    ],
)
def test_an_option_of_a_wrong_type_is_refused_by_name(option: str, value: int | str, expected: str) -> None:
    app: Any = App()  # without the types, which would refuse it
    with pytest.raises(TypeError, match=f'task "t": {option} is {value!r}; expected {expected}'):
        app.task(name="t", **{option: value})(print)


def test_an_unknown_option_is_refused_with_the_nearest() -> None:
    app: Any = App()
    with pytest.raises(TypeError, match=r'task "t" has no option acks_late; acks="late" is the default'):
        app.task(name="t", acks_late=True)(print)
    with pytest.raises(TypeError, match='task "t" has no option time_limits, did you mean "time_limit"'):
        app.task(name="t", time_limits=3)(print)


def test_a_name_in_the_place_of_a_function_is_refused() -> None:
    app: Any = App()
    with pytest.raises(TypeError, match="a task of a function, not of 'mail'; options are keywords"):
        app.task("mail")
