"""Callbacks, errbacks and states through a real daemon."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd.base.errors import TaskdError
from tests.system import following
from tests.system.daemon import Daemon
from tests.waiting import wait_until

WORKER = '[worker.main]\napp = "tests.system.following:app"\nconcurrency = 2\n'


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon]) -> Daemon:
    """One daemon with a prefork worker, ready."""
    made = make_daemon(WORKER)
    made.start()
    return made


def lines(path: Path) -> list[str]:
    return sorted(path.read_text().splitlines()) if path.exists() else []


@pytest.mark.parametrize("pool", ["prefork", "threads", "asyncio"])
def test_a_callback_runs_with_the_result(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    daemon = make_daemon(f'{WORKER}pool = "{pool}"\n')
    daemon.start()
    path = tmp_path / "notes"
    result = daemon.app.send_task("following.add", (2, 3), link=following.note.s(str(path)))

    wait_until(lambda: lines(path) == ["5"], 10, "the callback")
    assert result.get(timeout=60) == 5


def test_several_callbacks_run_and_callbacks_of_callbacks(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    add, note = following.add, following.note
    third = add.s(10).with_options(link=[note.s(str(path))])
    daemon.app.send_task(
        "following.add", (2, 3), link=[note.s(str(path)), note.si("fixed", str(path)), third]
    )

    wait_until(lambda: lines(path) == ["15", "5", "fixed"], 10, "three callbacks")


def test_an_errback_gets_the_id_and_finds_the_exception(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    note = following.note
    daemon.app.send_task(
        "following.fail",
        link=note.s(str(path)),
        link_error=[following.why.s(str(path)), note.s(str(path))],
        task_id="the-id",
    )

    wait_until(lambda: lines(path) == ["ValueError('sold out')", "the-id"], 10, "both errbacks")


def test_an_errback_runs_when_the_process_of_the_task_has_died(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    daemon.app.send_task("following.die", link_error=following.why.s(str(path)))

    wait_until(lambda: len(lines(path)) == 1, 10, "the errback")
    assert "WorkerLostError" in lines(path)[0]


@pytest.mark.parametrize("end", ["unknown", "expired", "revoked", "terminated", "rejected"])
def test_an_errback_runs_whoever_ended_the_task(daemon: Daemon, tmp_path: Path, end: str) -> None:
    path, app = tmp_path / "notes", daemon.app
    link_error = following.note.s(str(path))
    match end:
        case "unknown":
            result = app.send_task("following.nobody_knows", link_error=link_error)
        case "expired":
            result = app.send_task("following.add", (1, 2), link_error=link_error, countdown=0.3, expires=0.1)
        case "revoked":
            daemon.ctl("revoke", "known-beforehand")
            result = app.send_task("following.add", (1, 2), link_error=link_error, task_id="known-beforehand")
        case "terminated":
            result = app.send_task("following.wait", (str(tmp_path / "begun"),), link_error=link_error)
            wait_until((tmp_path / "begun").exists, 10)
            daemon.ctl("revoke", result.id, "--terminate")
        case _:
            result = app.send_task("following.reject", link_error=link_error)

    wait_until(lambda: lines(path) == [result.id], 15, "the errback")
    with pytest.raises(TaskdError):
        result.get(timeout=60)


def test_a_callback_of_a_task_that_was_acknowledged_early_runs(daemon: Daemon, tmp_path: Path) -> None:
    path = tmp_path / "notes"
    daemon.app.send_task("following.add_early", (2, 3), link=following.note.s(str(path)))

    wait_until(lambda: lines(path) == ["5"], 10, "the callback")


def test_started_and_progress_are_seen_from_outside(daemon: Daemon, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    for number in "12":
        os.mkfifo(f"{gate}.{number}")
    result = daemon.app.send_task("following.copy", (gate,))

    wait_until(lambda: result.state == "STARTED", 10, "STARTED")
    started = result.info
    assert isinstance(started, dict)
    assert started["hostname"].startswith("main-1@")
    assert started["pid"] in daemon.pids()
    Path(f"{gate}.1").write_bytes(b"go")
    wait_until(lambda: result.state == "PROGRESS", 10, "PROGRESS")
    assert result.info == {"done": 1, "of": 2}
    Path(f"{gate}.2").write_bytes(b"go")
    assert result.get(timeout=60) == "copied"
