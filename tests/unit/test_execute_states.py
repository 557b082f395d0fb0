"""The states that a task has while it runs."""

from __future__ import annotations

import asyncio
import os

import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.base.errors import SerializationError
from taskd.execution.native.execute import Executor
from taskd.execution.native.native_app import table_of
from taskd.protocol.execution import End, decode_reply, encode
from tests.unit.executing import assignment_of, run


def test_progress_is_seen_while_the_task_runs(app: App) -> None:
    seen = []

    @app.task(bind=True, name="copy")
    def copy(self: BoundTask) -> None:
        self.update_state(meta={"done": 1, "of": 2})
        seen.append((app.result("i").state, app.result("i").info, app.result("i").ready()))
        self.update_state(state="RESTING")
        seen.append((app.result("i").state, app.result("i").info, app.result("i").ready()))

    assert run(app, assignment_of(copy, task_id="i")).end is End.SUCCEEDED
    assert seen == [("PROGRESS", {"done": 1, "of": 2}, False), ("RESTING", None, False)]


@pytest.mark.parametrize("state", ["SUCCESS", "FAILURE", "REVOKED", "RETRY", "PENDING", ""])
def test_the_states_of_the_worker_cannot_be_chosen(app: App, state: str) -> None:
    @app.task(bind=True, name="copy")
    def copy(self: BoundTask) -> None:
        self.update_state(state=state)

    with pytest.raises(ValueError, match="stored by the worker alone"):
        copy()
    assert "stored by the worker alone" in run(app, assignment_of(copy, task_id="i")).text


def test_a_meta_without_json_is_refused(app: App) -> None:
    @app.task(bind=True, name="copy")
    def copy(self: BoundTask) -> None:
        with pytest.raises(SerializationError, match="set"):
            self.update_state(meta={1, 2})

    assert run(app, assignment_of(copy)).end is End.SUCCEEDED


def test_nothing_is_stored_when_no_result_is_kept(app: App) -> None:
    @app.task(bind=True, name="copy", ignore_result=True, track_started=True)
    def copy(self: BoundTask) -> None:
        self.update_state(meta=1)

    copy()
    assert run(app, assignment_of(copy, task_id="i")).end is End.SUCCEEDED
    assert app.result("i").state == "PENDING"


def test_results_that_are_switched_off_do_not_stop_a_task() -> None:
    app = App(broker="memory://states")

    @app.task(bind=True, name="copy", track_started=True)
    def copy(self: BoundTask) -> None:
        self.update_state(meta=1)

    assert run(app, assignment_of(copy)).end is End.SUCCEEDED


@pytest.mark.parametrize("native", [False, True])
def test_a_task_that_asks_for_it_is_started_before_it_runs(app: App, native: bool) -> None:
    seen = []

    @app.task(name="copy", track_started=True)
    def copy() -> None:
        seen.append((app.result("i").state, app.result("i").info))

    execute = Executor(app, "w@h")
    payload = encode(assignment_of(copy, task_id="i"))
    reply = asyncio.run(execute.acall(payload)) if native else execute(payload)

    assert decode_reply(reply).end is End.SUCCEEDED
    assert seen == [("STARTED", {"pid": os.getpid(), "hostname": "w@h"})]


def test_a_started_that_cannot_be_stored_does_not_stop_the_task(caplog: pytest.LogCaptureFixture) -> None:
    broken = App(broker="memory://states", results="sqlite:///dev/null/results.db")

    @broken.task(name="copy", track_started=True)
    def copy() -> int:
        return 1

    assert run(broken, assignment_of(copy, task_id="i")).end is End.SUCCEEDED
    assert "task=copy id=i STARTED is not stored" in caplog.text


def test_the_parent_learns_the_rate_limit(app: App) -> None:
    @app.task(name="copy", rate_limit="30/m")
    def copy() -> None: ...

    assert table_of(app).tasks[0].rate_limit == 0.5


def test_celerys_way_to_call_it_names_the_task_first(app: App) -> None:
    @app.task(bind=True, name="copy")
    def copy(self: BoundTask) -> list[object]:
        self.update_state(None, "PROGRESS", {"done": 1})
        self.update_state(task_id="other", state="PROGRESS", meta={"done": 2})
        return [app.result(task_id).info for task_id in ("i", "other")]

    assert run(app, assignment_of(copy, task_id="i")).text == "[{'done': 1}, {'done': 2}]"
