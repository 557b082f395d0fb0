"""Reload and rolling restarts of real workers: nothing is lost, nothing runs twice, and pids stay."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from taskd.app.app import App
from taskd.base import exit_codes
from taskd.supervisor.control.client import ControlClient
from tests.system.daemon import HEAD, Daemon
from tests.waiting import wait_until

_SWIFT = HEAD + 'canary_time = "0s"\n'
_WORKER = """
[worker.main]
pool = "{pool}"
concurrency = 2
processes = {processes}
"""


def worker(pool: str = "prefork", processes: int = 1, more: str = "") -> str:
    return _WORKER.format(pool=pool, processes=processes) + more


def rewrite(daemon: Daemon, tables: str, head: str = _SWIFT) -> None:
    """Replace the file as an editor does."""
    new = daemon.file.with_suffix(".new")
    new.write_text(head + tables)
    os.replace(new, daemon.file)


def ready(daemon: Daemon) -> dict[str, int]:
    return {str(row["name"]): int(str(row["pid"])) for row in daemon.rows() if row["state"] == "READY"}


def status(daemon: Daemon) -> Any:
    return ControlClient(str(daemon.directory / "taskd.sock")).call("status", timeout_s=60.0)


@contextmanager
def constant_load(app: App, task: str, notes: Path, pause_s: float) -> Iterator[list[int]]:
    """Send a task again and again from a thread; the list holds the numbers that were accepted."""
    sent: list[int] = []
    over = threading.Event()

    def send() -> None:
        while not over.wait(pause_s):
            app.send_task(task, (str(notes), len(sent)))
            sent.append(len(sent))

    thread = threading.Thread(target=send)
    thread.start()
    try:
        yield sent
    finally:
        over.set()
        thread.join()


def runs_of(notes: Path) -> Counter[int]:
    return Counter(int(line) for line in notes.read_text().split()) if notes.exists() else Counter()


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_roll_under_load_loses_nothing_and_runs_nothing_twice(
    make_daemon: Callable[..., Daemon], tmp_path: Path, pool: str
) -> None:
    daemon = make_daemon(worker(pool, processes=2), head=_SWIFT)
    daemon.start()
    before = ready(daemon)
    notes = tmp_path / "notes"

    with constant_load(daemon.app, "shop.slow_note", notes, 0.005) as sent:
        daemon.ctl("restart", "main", "--rolling")
        rewrite(daemon, worker(pool, processes=2, more='lease = "11s"\n'))
        daemon.ctl("reload", "--wait")

    assert not set(ready(daemon).values()) & set(before.values())
    wait_until(lambda: len(runs_of(notes)) == len(sent), 20, "every task to run")
    assert set(runs_of(notes).values()) == {1}


def test_a_long_task_of_a_program_that_drains_keeps_its_claim(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    """Its successor, which is ready meanwhile, has another name and so does not take the claim away."""
    daemon = make_daemon(worker("threads"), head=_SWIFT)
    daemon.start()
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    held = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)

    daemon.ctl("restart", "main", "--rolling")

    rows = {row["name"]: row["state"] for row in daemon.rows()}
    assert rows == {"main-1": "DRAINING", "main-2": "READY"}
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    gate.touch()
    assert held.get(timeout=60) == "held"
    wait_until(lambda: len(daemon.rows()) == 1, 10)
    assert len(runs.read_text().split()) == 1, "it ran once"


def test_broken_code_in_a_new_configuration_leaves_the_old_workers_at_work(
    make_daemon: Callable[..., Daemon],
) -> None:
    head = _SWIFT + 'restart_delay = "10ms"\n'
    daemon = make_daemon(worker("threads", processes=2), head=head)
    daemon.start()
    before = ready(daemon)
    rewrite(daemon, worker("threads", processes=2, more='app = "tests.system.broken_app:app"\n'), head)

    refused = daemon.ctl("reload", "--wait", check=False)

    assert refused.returncode == exit_codes.FAILURE
    assert "main" in refused.stderr
    wait_until(lambda: len(daemon.rows()) == 2, 10)
    assert ready(daemon) == before
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_systemd_style_hup_keeps_what_did_not_change(make_daemon: Callable[..., Daemon]) -> None:
    other = '[worker.other]\npool = "solo"\nqueues = ["other"]\n'
    daemon = make_daemon(worker("threads") + other, head=_SWIFT)
    daemon.start()
    before = ready(daemon)
    rewrite(daemon, worker("threads", more='time_limit = "50s"\n') + other)

    daemon.signal(signal.SIGHUP)

    wait_until(
        lambda: (r := status(daemon)["taskd"]["reload"])["generation"] == 2 and r["outcome"] == "done", 20
    )
    after = ready(daemon)
    assert after["other-1"] == before["other-1"]
    assert before["main-1"] not in after.values()


@pytest.mark.parametrize("pool", ["threads", "prefork"])
def test_a_changed_log_level_reaches_workers_and_their_tasks(
    make_daemon: Callable[..., Daemon], pool: str
) -> None:
    daemon = make_daemon(worker(pool), head=_SWIFT)
    daemon.start()
    before = ready(daemon)
    rewrite(daemon, worker(pool) + '[log]\nlevel = "debug"\n')

    daemon.ctl("reload", "--wait")
    daemon.app.send_task("shop.add", (2, 3)).get(timeout=60)

    assert ready(daemon) == before
    assert daemon.app.send_task("shop.log_level").get(timeout=60) == "DEBUG", "where tasks run"
    wait_until(lambda: "DEBUG   main-" in daemon.log.read_text(), 10, "a line of the worker at the new level")


def test_a_shorter_stop_timeout_reaches_a_worker_that_goes_on(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(worker("threads"), head=_SWIFT)
    daemon.start()
    before = ready(daemon)
    rewrite(daemon, worker("threads"), head=_SWIFT.replace('stop_timeout = "20s"', 'stop_timeout = "1s"'))
    daemon.ctl("reload", "--wait")
    assert ready(daemon) == before
    wait_until(lambda: "changed settings taken over" in daemon.log.read_text(), 10)
    runs = tmp_path / "runs"
    daemon.app.send_task("shop.hold", (str(runs), str(tmp_path / "gate")))
    wait_until(runs.exists, 10)

    daemon.ctl("stop", "main", "--timeout", "15s")

    assert daemon.row("main-1")["state"] == "DOWN", "it gave the task back after a second, not after twenty"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_fifty_rolling_restarts_under_constant_load_lose_no_task(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(worker("prefork"), head=_SWIFT)
    daemon.start()
    notes = tmp_path / "notes"
    client = ControlClient(str(daemon.directory / "taskd.sock"))
    seen: set[int] = set()

    with constant_load(daemon.app, "shop.slow_note", notes, 0.01) as sent:
        for _ in range(50):
            seen |= set(ready(daemon).values())
            client.call("roll", {"name": "main"}, timeout_s=60.0)
            wait_until(lambda: status(daemon)["groups"]["main"]["settled"], 30, "the end of a roll")

    assert len(seen) == 50, "each roll replaced the worker"
    wait_until(lambda: len(runs_of(notes)) == len(sent), 30, "every task to run")
    assert set(runs_of(notes).values()) == {1}
