"""Other commands under a real daemon: started, reported, in order, with hooks, as another user."""

from __future__ import annotations

import os
import pwd
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.system.daemon import Daemon
from tests.waiting import wait_until

WORKER = """
[worker.main]
pool = "threads"
concurrency = 1
"""


def command(name: str, shell: str, *keys: str) -> str:
    return "\n".join([f"[program.{name}]", f"command = ['/bin/sh', '-c', '''{shell}''']", *keys, ""])


def waited_for(daemon: Daemon, name: str, state: str) -> dict[str, object]:
    return wait_until(
        lambda: (row := daemon.row(name) if daemon.rows() else {}).get("state") == state and row,
        20,
        f"{name} {state}; the log:\n{daemon.log.read_text()}",
    )


def test_a_command_is_kept_running_beside_the_workers(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    shell = f"echo $$ >> {tmp_path}/pids; exec sleep 600"
    daemon = make_daemon(WORKER + command("side", shell, "ready_after = '50ms'"))
    daemon.start()
    first = daemon.pid_of("side-1")
    assert (tmp_path / "pids").read_text() == f"{first}\n"

    os.kill(first, 9)

    wait_until(lambda: daemon.row("side-1")["pid"] not in {None, first}, 20)
    waited_for(daemon, "side-1", "READY")
    assert daemon.row("main-1")["restarts"] == 0
    assert "side-1" in daemon.ctl("deaths", "side").stdout
    daemon.ctl("stop", "side")
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5
    assert daemon.stop() == 0


def test_a_command_says_itself_when_it_is_ready(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    shell = f"""
        echo '{{"type": "waiting", "reason": "for a file"}}' >&"$TASKD_STATUS_FD"
        while [ ! -e {tmp_path}/go ]; do sleep 0.05; done
        echo '{{"type": "ready"}}' >&"$TASKD_STATUS_FD"
        exec sleep 600"""
    daemon = make_daemon(command("own", shell, "ready = 'reported'"))
    daemon.spawn()
    wait_until(lambda: daemon.rows() and daemon.row("own-1")["reason"] == "waiting: for a file", 20)
    assert daemon.row("own-1")["state"] == "STARTING"

    (tmp_path / "go").touch()

    waited_for(daemon, "own-1", "READY")


def test_a_worker_that_requires_a_job_starts_when_the_job_is_done(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    shell = f"while [ ! -e {tmp_path}/go ]; do sleep 0.05; done; echo migrated"
    job = command("migrate", shell, "restart = 'never'", "ready_after = '1h'", "start_timeout = '2h'")
    daemon = make_daemon(WORKER + "requires = ['migrate']\n" + job)
    daemon.spawn()
    wait_until(lambda: daemon.rows() and "migrate" in str(daemon.row("main-1")["reason"]), 20)
    assert (daemon.row("main-1")["state"], daemon.row("main-1")["pid"]) == ("DOWN", None)

    (tmp_path / "go").touch()

    waited_for(daemon, "main-1", "READY")
    assert daemon.row("migrate-1")["state"] == "DOWN"
    assert "migrated" in daemon.ctl("logs", "migrate-1").stdout
    ended = next(
        line
        for line in daemon.log.read_text().splitlines()
        if "program=migrate-1" in line and " ended: " in line
    )
    assert " INFO " in ended
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=60) == 5


def test_a_command_starts_after_the_worker_and_ends_before_it(
    make_daemon: Callable[..., Daemon], tmp_path: Path
) -> None:
    daemon = make_daemon(
        WORKER + command("side", "exec sleep 600", "after = ['main']", "ready_after = '50ms'")
    )
    daemon.start()

    assert daemon.stop() == 0

    log = daemon.log.read_text()
    order = [
        log.index(text)
        for text in (
            "program=main-1 pid=",
            "program=side-1 pid=",
            "sending SIGTERM: taskd stops (warm)",
        )
    ]
    assert order == sorted(order)
    ends = [line for line in log.splitlines() if " ended: " in line]
    assert ["side-1" in ends[0], "main-1" in ends[1]] == [True, True], ends


def test_hooks_are_run_with_what_happened(make_daemon: Callable[..., Daemon], tmp_path: Path) -> None:
    note = f"['/bin/sh', '-c', 'echo $TASKD_EVENT $TASKD_PROGRAM $TASKD_STATE >> {tmp_path}/events']"
    hooks = [f"on_{event} = {note}" for event in ("ready", "exited", "failed", "stopped")]
    events = tmp_path / "events"

    def said() -> list[str]:
        return events.read_text().splitlines() if events.exists() else []

    daemon = make_daemon(WORKER + "\n".join(hooks) + "\n")
    daemon.start()
    wait_until(lambda: said() == ["ready main-1 READY"], 10)

    os.kill(daemon.pid_of("main-1"), 9)
    wait_until(lambda: said().count("ready main-1 READY") == 2, 20)
    daemon.ctl("stop", "main")

    wait_until(lambda: len(said()) == 4, 10)
    assert [line.split()[0] for line in said()] == ["ready", "exited", "ready", "stopped"]


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory that other users may enter and write."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        os.chmod(name, 0o777)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change users")
def test_a_command_runs_as_its_own_user(make_daemon: Callable[..., Daemon], open_place: Path) -> None:
    shell = f"id -u > {open_place}/uid; echo as $USER; exec sleep 600"
    keys = ["user = 'nobody'", "directory = '/'", "ready_after = '50ms'"]
    daemon = make_daemon(WORKER + "user = 'root'\n" + command("side", shell, *keys))
    daemon.start()

    nobody = pwd.getpwnam("nobody")
    assert (open_place / "uid").read_text() == f"{nobody.pw_uid}\n"
    assert os.stat(f"/proc/{daemon.pid_of('side-1')}").st_uid == nobody.pw_uid
    assert "as nobody" in daemon.ctl("logs", "side-1").stdout
    assert os.stat(f"/proc/{daemon.pid_of('main-1')}").st_uid == 0
    assert daemon.stop() == 0


def test_a_user_that_does_not_exist_is_named_before_anything_starts(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon(WORKER + command("side", "exec sleep 600", "user = 'nobodi'"))
    daemon.spawn()

    assert daemon.wait_exit() == 78
    assert "program.side.user" in daemon.log.read_text()
