"""taskctl and kombu's own pidbox client against a real worker."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from taskd.ids import node_name
from tests.system.daemon import Daemon
from tests.waiting import wait_until

NODE = node_name("main-1")


def inspect(daemon: Daemon, method: str) -> object:
    """Return the node's reply."""
    return json.loads(daemon.ctl("inspect", method, "--json").stdout)[NODE]


def hold(daemon: Daemon, tmp_path: Path) -> tuple[str, Path]:
    """Start a task that runs until its gate opens; return its id and the gate."""
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    result = daemon.app.send_task("shop.hold", (str(runs), str(gate)))
    wait_until(runs.exists, 10)
    return result.id, gate


def test_ping_is_answered(daemon: Daemon) -> None:
    assert inspect(daemon, "ping") == {"ok": "pong"}


def test_active_shows_the_running_task_with_its_arguments(daemon: Daemon, tmp_path: Path) -> None:
    task_id, gate = hold(daemon, tmp_path)

    (active,) = inspect(daemon, "active")  # type: ignore[misc]

    assert active["id"] == task_id
    assert active["name"] == "shop.hold"
    assert active["args"] == [str(tmp_path / "runs"), str(gate)]
    assert active["worker_pid"] == int((tmp_path / "runs").read_text())
    gate.touch()


def test_registered_and_stats_tell_what_the_worker_is(daemon: Daemon) -> None:
    assert daemon.app.send_task("shop.add", (2, 3)).get(timeout=10) == 5

    stats = inspect(daemon, "stats")

    assert isinstance(stats, dict)
    assert stats["total"] == {"shop.add": 1}
    assert stats["pid"] == daemon.pid_of("main-1")
    assert len(stats["pool"]["processes"]) == 2
    assert "shop.add" in inspect(daemon, "registered")  # type: ignore[operator]


def test_a_revoked_task_that_waits_does_not_run(daemon: Daemon, tmp_path: Path) -> None:
    result = daemon.app.send_task("shop.note", (str(tmp_path / "notes"), "ran"), countdown=0.5)

    daemon.ctl("revoke", result.id)

    assert result.id in inspect(daemon, "revoked")  # type: ignore[operator]
    with pytest.raises(Exception, match="revoked"):
        daemon.app.result(result.id).get(timeout=10)
    assert not (tmp_path / "notes").exists()


def test_a_running_task_is_terminated_on_request(daemon: Daemon, tmp_path: Path) -> None:
    task_id, _ = hold(daemon, tmp_path)

    daemon.ctl("revoke", task_id, "--terminate")

    with pytest.raises(Exception, match="terminated"):
        daemon.app.result(task_id).get(timeout=10)
    assert inspect(daemon, "active") == []
    assert len((tmp_path / "runs").read_text().split()) == 1


def test_send_result_queues_and_purge_work_from_the_command_line(daemon: Daemon) -> None:
    sent = daemon.ctl("send", "shop.add", "[2, 3]", "--wait")
    assert "5" in sent.stdout

    daemon.ctl("stop", "main-1")
    daemon.ctl("send", "shop.add", "[1, 1]")
    queues = json.loads(daemon.ctl("queues", "--json").stdout)
    assert [(queue["name"], queue["ready"]) for queue in queues] == [("default", 1)]
    daemon.ctl("purge", "default", "--yes")

    assert json.loads(daemon.ctl("queues", "--json").stdout)[0]["ready"] == 0


def test_kombus_own_pidbox_client_is_answered(daemon: Daemon) -> None:
    from kombu.pidbox import Mailbox

    from taskd.brokers.kombu_connection import kombu_connection
    from taskd.config.load import load

    config = load(str(daemon.file))
    with kombu_connection(config.broker, config.sqlite) as connection:
        mailbox = Mailbox("celery", type="fanout")(connection)
        replies = mailbox.call([NODE], "ping", timeout=5)

    assert replies == [{NODE: {"ok": "pong"}}]


def test_a_draining_worker_still_answers(daemon: Daemon, tmp_path: Path) -> None:
    import signal

    _, gate = hold(daemon, tmp_path)
    daemon.signal(signal.SIGTERM)
    wait_until(lambda: daemon.row("main-1")["state"] == "DRAINING", 10)

    assert inspect(daemon, "ping") == {"ok": "pong"}
    gate.touch()
    assert daemon.wait_exit() == 0
