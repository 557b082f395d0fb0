"""Workers that follow the load: more when tasks wait, fewer when they do not, and none cut short."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd.base import exit_codes
from tests.system.daemon import HEAD, Daemon
from tests.system.notes import lines
from tests.waiting import wait_until

SCALED = """
[worker.main]
pool = "solo"
processes = 3
min_processes = 1
target_latency = "100ms"
"""
THREE_THREADS = SCALED.replace("solo", "threads") + "concurrency = 1\n"


def ready(daemon: Daemon) -> list[str]:
    return [str(row["name"]) for row in daemon.rows() if row["state"] == "READY"]


def test_a_worker_that_rests_takes_nothing_until_it_is_called_back(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon('[worker.main]\npool = "threads"\nconcurrency = 1\n')
    daemon.start()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    running = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)
    waiting = daemon.app.send_task("shop.add", (2, 3))

    os.kill(daemon.pid_of("main-1"), signal.SIGTSTP)
    wait_until(lambda: "quiet=True" in daemon.log.read_text(), 10)
    gate.touch()

    assert running.get(timeout=60) == "held", "what runs is finished"
    wait_until(lambda: daemon.row("main-1")["busy"] == 0, 10)
    assert waiting.state == "PENDING"
    os.kill(daemon.pid_of("main-1"), signal.SIGCONT)
    assert waiting.get(timeout=60) == 5


def test_workers_are_started_for_a_backlog_and_say_why(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(THREE_THREADS)
    daemon.spawn()
    wait_until(lambda: ready(daemon) == ["main-1"], 20)
    assert daemon.row("main-2")["reason"] == "not needed by the load"
    assert "DOWN (not needed)" in daemon.ctl("status").stdout
    gate, runs = tmp_path / "gate", tmp_path / "runs"

    held = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(3)]

    wait_until(lambda: len(set(lines(runs))) == 3, 30, "each task in a worker of its own")
    explained = json.loads(daemon.ctl("autoscale", "explain", "main", "--json").stdout)["workers"]["main"]
    assert (explained["processes"], explained["most"]) == (3, 3)
    wait_until(lambda: daemon.row("main-3")["state"] == "READY")
    assert "scaled up" in daemon.log.read_text()
    gate.touch()
    assert [each.get(timeout=60) for each in held] == ["held"] * 3


@pytest.mark.slow
def test_a_busy_worker_that_leaves_is_called_back_when_the_load_returns(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(THREE_THREADS, head=HEAD + 'scale_down_after = "1s"\n')
    daemon.spawn()
    wait_until(lambda: ready(daemon) == ["main-1"], 20)
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    held = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(3)]
    wait_until(lambda: len(set(lines(runs))) == 3, 30)
    wait_until(lambda: "scaled down" in str(daemon.row("main-2")["reason"]), 30)
    pid = daemon.pid_of("main-2")

    more = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(3)]

    wait_until(lambda: "called back" in str(daemon.row("main-2")["reason"]), 30)
    gate.touch()
    assert [each.get(timeout=60) for each in held + more] == ["held"] * 6, "no task was cut short"
    assert daemon.pid_of("main-2") == pid
    wait_until(lambda: ready(daemon) == ["main-1"], 60, "the load is gone, and so are the others")


def test_the_bounds_of_the_file_are_tried_on_a_recorded_load(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(SCALED)
    load = tmp_path / "load.jsonl"
    load.write_text('{"second": 5, "group": "main", "tasks": 100, "service_s": 0.5}\n')

    rows = json.loads(daemon.ctl("autoscale", "simulate", str(load), "--changes", "--json").stdout)["rows"]

    assert [row["processes"] for row in rows] == [1, 3, 1]
    load.write_text('{"second": "soon"}\n')
    refused = daemon.ctl("autoscale", "simulate", str(load), check=False)
    assert refused.returncode == exit_codes.USAGE
    assert "line 1: " in refused.stderr


def test_what_the_operator_stopped_is_not_started_by_the_load(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(THREE_THREADS)
    daemon.spawn()
    wait_until(lambda: ready(daemon) == ["main-1"], 20)
    daemon.ctl("start", "main-2")
    daemon.ctl("stop", "main-2")
    gate, runs = tmp_path / "gate", tmp_path / "runs"

    for _ in range(5):
        daemon.app.send_task("shop.hold", (str(runs), str(gate)))

    wait_until(lambda: len(set(lines(runs))) == 2, 30)
    assert daemon.row("main-2")["state"] == "DOWN"
    gate.touch()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == exit_codes.OK


def test_bounds_that_a_reload_changes_are_in_force_at_once(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(THREE_THREADS)
    daemon.spawn()
    wait_until(lambda: ready(daemon) == ["main-1"], 20)
    pid = daemon.pid_of("main-1")

    raised = THREE_THREADS.replace("min_processes = 1", "min_processes = 2")
    actions = set()
    daemon.file.write_text(HEAD + raised)
    actions |= {each["action"] for each in json.loads(daemon.ctl("reload", "--json").stdout)["programs"]}
    wait_until(lambda: ready(daemon) == ["main-1", "main-2"], 10)  # a worker at rest reports every 15 s
    daemon.file.write_text(HEAD + raised.replace("\nprocesses = 3", "\nprocesses = 4"))
    actions |= {each["action"] for each in json.loads(daemon.ctl("reload", "--json").stdout)["programs"]}

    gate, runs = tmp_path / "gate", tmp_path / "runs"
    held = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(4)]
    wait_until(lambda: len(set(lines(runs))) == 4, 30)
    gate.touch()
    assert [each.get(timeout=60) for each in held] == ["held"] * 4
    assert not actions & {"roll", "drain"}
    assert daemon.pid_of("main-1") == pid


@pytest.mark.parametrize("canary_time", ["0s", "3s"])
def test_a_worker_is_rolled_while_it_is_scaled_up_and_cuts_no_task_short(
    make_daemon: Callable[..., Daemon], tmp_path: Path, canary_time: str
) -> None:
    head = f'{HEAD}canary_time = "{canary_time}"\n'
    daemon = make_daemon(THREE_THREADS, head=head)
    daemon.spawn()
    wait_until(lambda: ready(daemon) == ["main-1"], 20)
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    held = [daemon.app.send_task("shop.hold", (str(runs), str(gate))) for _ in range(3)]
    wait_until(lambda: len(set(lines(runs))) == 3, 30)
    before = {daemon.pid_of(name) for name in ready(daemon)}

    daemon.file.write_text(head + THREE_THREADS + 'lease = "11s"\n')
    daemon.ctl("reload")
    wait_until(lambda: "main-4" in ready(daemon), 60, "the first new one")
    gate.touch()

    daemon.ctl("reload", "--wait", "--timeout", "40s")  # the same file: waits for what is under way
    assert [each.get(timeout=60) for each in held] == ["held"] * 3
    assert len(lines(runs)) == 3, "each ran once"
    assert not before & {daemon.pid_of(name) for name in ready(daemon)}
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    assert "scaled down" not in daemon.log.read_text(), "the load asked for three all the time"
