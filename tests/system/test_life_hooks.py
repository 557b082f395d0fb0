"""Hooks in the life of a worker and of its processes: their order, and that none of them does harm."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.protocol.status import Ready
from tests.system.lone import LoneWorker
from tests.waiting import wait_until


def run(tmp_path: Path, pool: str, monkeypatch: pytest.MonkeyPatch, number: signal.Signals) -> list[str]:
    """Run a worker of one slot over one task, end it, and return what the hooks noted."""
    notes = tmp_path / "notes"
    monkeypatch.setenv("LIFE_NOTES", str(notes))
    worker = LoneWorker(tmp_path, pool=pool, app="tests.system.life_app:app", concurrency=1)
    try:
        worker.spawn()
        worker.until_said(Ready)
        assert worker.app.send_task("life.add", (1, 2)).get(timeout=60) == 3
        worker.signal(number)
        assert worker.wait_exit() == exit_codes.OK
    finally:
        worker.end()
    assert "hook bad failed" in worker.log.read_text()
    wait_until(notes.exists, 5)
    return notes.read_text().splitlines()


@pytest.mark.parametrize("pool", ["threads", "solo", "asyncio", "gevent"])
def test_a_worker_that_runs_tasks_itself_calls_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: str
) -> None:
    order = ["process_init1", "process_init2", "worker_ready1", "worker_ready2", "task"]
    ends = ("worker_stopping", "worker_stopped", "process_shutdown")
    order += [f"{stage}{number}" for stage in ends for number in (2, 1)]

    noted = run(tmp_path, pool, monkeypatch, signal.SIGTERM)

    assert [line.split()[0] for line in noted] == order
    assert {line.partition(" ")[2] for line in noted if line != "task"} == {"main-1 True"}


def test_a_cold_stop_calls_them_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noted = run(tmp_path, "threads", monkeypatch, signal.SIGQUIT)

    last = [line.split()[0] for line in noted][-3:]
    assert last == ["worker_stopped1", "process_shutdown2", "process_shutdown1"]


def test_on_prefork_those_of_the_worker_take_a_slot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order = ["process_init1", "process_init2", "worker_ready1", "worker_ready2", "task"]
    ends = ("worker_stopping", "worker_stopped", "process_shutdown")
    order += [f"{stage}{number}" for stage in ends for number in (2, 1)]

    noted = run(tmp_path, "prefork", monkeypatch, signal.SIGTERM)

    assert [line.split()[0] for line in noted] == order
    assert {line.partition(" ")[2] for line in noted if line != "task"} == {"main-1 True"}


def test_on_prefork_a_cold_end_calls_none_of_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted = run(tmp_path, "prefork", monkeypatch, signal.SIGQUIT)

    assert [line.split()[0] for line in noted] == [
        "process_init1", "process_init2", "worker_ready1", "worker_ready2", "task",
    ]  # fmt: skip


@pytest.mark.slow
def test_on_prefork_a_hook_that_hangs_is_ended_and_the_worker_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIFE_HANGS", "worker_ready2")

    noted = run(tmp_path, "prefork", monkeypatch, signal.SIGTERM)

    assert "worker_ready hooks were not all called" in (tmp_path / "worker.log").read_text()
    ready = [
        "worker_ready1",
        "process_init1",
        "process_init2",
        "task",
    ]  # in another child, as the first was ended
    assert [line.split()[0] for line in noted][2:6] == ready
