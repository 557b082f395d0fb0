"""The template runs a task of taskd's own before it forks, and nobody but its memory knows of it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, signals
from celery.app import trace
from celery.app.task import Task
from celery.loaders.app import AppLoader
from redis import Redis

from taskd import App
from taskd.config.schema import Config
from taskd.execution import rehearsal
from taskd.execution.celery.records import HandedRecords
from taskd.execution.celery.rehearsing import rehearse
from taskd.execution.native.native_app import WorkingApp
from taskd.execution.task_app import Workplace
from tests import services
from tests.component.celery_messages import delivery_of, run
from tests.system.celery_client import CELERYS_WARNINGS

pytestmark = CELERYS_WARNINGS
_OF_A_RUN = (signals.task_prerun, signals.task_postrun, signals.task_success, signals.task_failure)


@pytest.fixture
def made() -> Iterator[Callable[..., Any]]:
    apps: list[Any] = []

    def make(backend: str, **conf: object) -> Any:
        app = Celery("rehearsed", broker="memory://", backend=backend, set_as_current=False)
        app.conf.update(conf)
        apps.append(app)
        return app

    yield make
    for app in apps:
        app.close()


@pytest.fixture
def heard() -> Iterator[list[object]]:
    found: list[object] = []

    def hear(**fields: object) -> None:
        found.append(fields["signal"])

    for signal in _OF_A_RUN:
        signal.connect(hear, weak=False)
    yield found
    for signal in _OF_A_RUN:
        signal.disconnect(hear)


def test_a_run_of_celery_is_rehearsed_and_nobody_hears_of_it(
    made: Callable[..., Any], heard: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    url = services.redis_database()
    app = made(url, task_annotations={"*": {"on_success": None}}, task_track_started=True)
    caplog.set_level(logging.INFO)

    assert rehearse(app, "w@h", HandedRecords(url))

    assert heard == []
    assert caplog.records == []
    assert "client" not in vars(app.backend)
    with Redis.from_url(url) as client:
        assert client.keys() == []
    assert rehearsal.NAME not in app.tasks


def test_receivers_hear_of_the_tasks_that_follow(made: Callable[..., Any], heard: list[object]) -> None:
    app = made("cache+memory://")

    @app.task(name="give", shared=False)  # type: ignore[untyped-decorator]
    def give() -> int:
        return 7

    assert rehearse(app, "w@h", HandedRecords("redis://elsewhere"))
    task_id = str(uuid4())
    run(app, delivery_of(app, "give", task_id=task_id))

    assert heard == [signals.task_prerun, signals.task_success, signals.task_postrun]
    assert app.AsyncResult(task_id).result == 7


@pytest.mark.parametrize(
    ("place", "name"),
    [(trace, "build_tracer"), (Task, "__call__"), (Task, "on_success"), (AppLoader, "on_task_init")],
)
def test_what_an_integration_has_put_in_the_place_of_celerys_is_not_called(
    made: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, place: object, name: str
) -> None:
    def own(*_: object, **__: object) -> None:
        raise AssertionError("called")

    app = made("disabled://")
    monkeypatch.setattr(place, name, own)

    assert not rehearse(app, "w@h", HandedRecords(""))


@pytest.mark.parametrize(
    "conf",
    [{"accept_content": ["pickle"]}, {"worker_deduplicate_successful_tasks": True, "task_acks_late": True}],
)
def test_what_could_reach_the_backend_is_not_rehearsed(
    made: Callable[..., Any], conf: dict[str, object]
) -> None:
    url = services.redis_database()
    app = made(url, **conf)

    assert not rehearse(app, "w@h", HandedRecords(url))

    with Redis.from_url(url) as client:
        assert client.keys() == []


def test_a_backend_that_is_not_installed_is_left_for_the_task_to_meet(made: Callable[..., Any]) -> None:
    assert not rehearse(made("nowhere.to_be:Found"), "w@h", HandedRecords(""))


def test_a_run_of_taskds_own_app_is_rehearsed_without_its_hooks() -> None:
    app = App(broker="memory://", results="null://")
    called: list[object] = []
    app.hooks.before_task(called.append)

    assert WorkingApp(app, Workplace(Config(), "w", "w@h", has_children=False)).rehearse()

    assert called == []
    assert rehearsal.NAME not in app.tasks
