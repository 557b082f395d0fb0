"""How a real daemon starts, stops, and dies."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd.base import exit_codes
from taskd.host import procinfo
from tests.signal_windows import signal_at_an_event, signal_at_the_end
from tests.system.daemon import ONE_PREFORK_WORKER, ROOT, Daemon
from tests.system.notes import lines
from tests.waiting import wait_until


def test_a_warm_stop_finishes_what_runs_and_leaves_the_rest_in_the_queue(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon('[worker.main]\npool = "prefork"\nconcurrency = 1\n')
    daemon.start()
    gate = tmp_path / "gate"
    running = daemon.app.send_task("shop.hold", (str(tmp_path / "runs"), str(gate)))
    wait_until(lambda: lines(tmp_path / "runs"), 10)
    waiting = daemon.app.send_task("shop.add", (2, 3))

    daemon.signal(signal.SIGTERM)
    daemon.wait_draining()
    gate.touch()

    assert daemon.wait_exit() == exit_codes.OK
    assert running.get(timeout=60) == "held"
    assert waiting.state == "PENDING"
    daemon.start()
    assert waiting.get(timeout=60) == 5


def test_a_second_term_goes_cold_and_the_task_runs_again_later(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon()
    daemon.start()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)

    daemon.signal(signal.SIGTERM)
    wait_until(lambda: daemon.row("main-1")["state"] == "DRAINING", 10)
    daemon.signal(signal.SIGTERM)
    daemon.wait_exit()

    assert not procinfo.is_alive(int(lines(runs)[0]))
    assert result.id in daemon.log.read_text(), "what was requeued is listed"
    gate.touch()
    daemon.start()
    assert result.get(timeout=60) == "held"
    assert len(lines(runs)) == 2


def test_quit_ends_at_once_and_loses_nothing(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    daemon = make_daemon()
    daemon.start()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)

    daemon.signal(signal.SIGQUIT)
    daemon.wait_exit(10)
    gate.touch()
    daemon.start()

    assert result.get(timeout=60) == "held"


def test_a_killed_supervisor_leaves_no_process_behind(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(
        ONE_PREFORK_WORKER
        + '[worker.io]\nqueues = ["io"]\npool = "threads"\n'
        + '[beat.schedule.tick]\ntask = "shop.pid"\nevery = "1s"\n'
    )
    daemon.start()
    daemon.app.send_task("shop.hold", (str(tmp_path / "runs"), str(tmp_path / "gate")))
    wait_until(lambda: lines(tmp_path / "runs"), 10)
    pids = daemon.pids()
    assert len(pids) >= 7, "supervisor, two workers, template, two children, beat"

    daemon.signal(signal.SIGKILL)
    daemon.wait_exit()

    wait_until(lambda: not any(procinfo.is_alive(pid) for pid in pids), 2.0, "the end of every process")


def test_a_killed_worker_is_replaced_and_its_task_runs_again(daemon: Daemon, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)

    os.kill(daemon.pid_of("main-1"), signal.SIGKILL)
    wait_until(lambda: len(lines(runs)) == 2, 10, "the second run")
    gate.touch()

    assert result.get(timeout=60) == "held"
    assert daemon.row("main-1")["restarts"] == 1


def test_a_killed_template_is_replaced_and_its_tasks_run_again(daemon: Daemon, tmp_path: Path) -> None:
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)
    template = os.stat(f"/proc/{lines(runs)[0]}")
    parent = int(Path(f"/proc/{lines(runs)[0]}/stat").read_text().rpartition(")")[2].split()[1])
    assert template

    os.kill(parent, signal.SIGKILL)
    wait_until(lambda: len(lines(runs)) == 2, 10, "the second run")
    gate.touch()

    assert result.get(timeout=60) == "held"


def test_a_task_module_that_does_not_import_is_reported_and_the_rest_runs_on(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon(
        ONE_PREFORK_WORKER + '[worker.broken]\nqueues = ["other"]\napp = "tests.system.broken_app:app"\n'
    )
    daemon.spawn()
    wait_until(lambda: "broken-1" in str(daemon.rows()) and daemon.row("main-1")["state"] == "READY", 20)

    wait_until(lambda: "the shelf is empty" in str(daemon.row("broken-1")["detail"]), 20)

    assert "the shelf is empty" in daemon.ctl("status").stdout
    log = daemon.log.read_text()
    tracebacks = len(re.findall(r"^ *RuntimeError: the shelf is empty$", log, re.MULTILINE))
    assert tracebacks == log.count("the task code did not load") - log.count(" ended: the task code did")
    assert 'tests/system/broken_app.py", line 3, in <module>' in log
    assert "/taskd/base/resolve.py" not in log
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_second_daemon_on_the_same_control_socket_is_refused(daemon: Daemon) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "taskd", "--config", str(daemon.file)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=60,
        check=False,
    )

    assert second.returncode == exit_codes.CANTCREAT
    assert "taskd.sock" in second.stderr
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_wrong_file_ends_with_the_status_that_systemd_does_not_restart(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon("[worker.main]\npoool = 3\n")
    daemon.spawn()

    assert daemon.wait_exit() == exit_codes.CONFIG
    assert 'did you mean "pool"' in daemon.log.read_text()


def test_taskctl_stops_starts_and_restarts_one_program(daemon: Daemon) -> None:
    first = daemon.pid_of("main-1")

    daemon.ctl("restart", "main-1")
    second = daemon.pid_of("main-1")
    daemon.ctl("stop", "main-1")

    assert second != first
    assert daemon.row("main-1")["state"] == "DOWN"
    assert not procinfo.is_alive(second)
    waiting = daemon.app.send_task("shop.add", (2, 3))
    daemon.ctl("start", "main-1")
    assert waiting.get(timeout=60) == 5


def test_beat_sends_what_the_file_says(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    path = tmp_path / "ticks"
    daemon = make_daemon(
        ONE_PREFORK_WORKER
        + f'[beat.schedule.tick]\ntask = "shop.note"\nevery = "100ms"\nargs = ["{path}", "tick"]\n'
    )
    daemon.start()

    wait_until(lambda: len(lines(path)) >= 5, 10)


def test_a_worker_that_slept_over_its_lease_is_fenced_off_and_works_on(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon('[worker.main]\npool = "prefork"\nconcurrency = 1\nprocesses = 2\nlease = "1s"\n')
    daemon.start()
    gate, runs = tmp_path / "gate", tmp_path / "runs"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(lambda: lines(runs), 10)
    holder = next(
        name
        for name in ("main-1", "main-2")
        if int(lines(runs)[0]) in procinfo.descendants(daemon.pid_of(name))
    )
    sleeper = daemon.pid_of(holder)

    os.kill(sleeper, signal.SIGSTOP)
    wait_until(lambda: len(lines(runs)) == 2, 15, "the takeover")
    gate.touch()
    assert result.get(timeout=60) == "held"
    os.kill(sleeper, signal.SIGCONT)
    wait_until(lambda: "claims lost, starting a new generation" in daemon.log.read_text(), 10)

    results = [daemon.app.send_task("shop.add", (number, 1)) for number in range(20)]
    assert [each.get(timeout=60) for each in results] == list(range(1, 21))
    assert daemon.pid_of(holder) == sleeper
    assert len(lines(runs)) == 2


def test_a_signal_before_the_supervisor_listens_is_obeyed_and_does_not_end_it(
    make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at_an_event(monkeypatch, tmp_path, "taskd", signal.SIGHUP, "socket.bind")
    daemon = make_daemon()

    daemon.start()

    wait_until(lambda: "reload" in daemon.log.read_text())


def test_a_signal_after_the_supervisors_last_handler_does_not_change_its_exit_status(
    make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signal_at_the_end(monkeypatch, tmp_path, "taskd", signal.SIGTERM)
    daemon = make_daemon()
    daemon.start()

    assert daemon.stop() == exit_codes.OK
