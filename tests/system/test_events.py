"""Celery's own event receiver hears what our workers tell."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from taskd import App
from taskd.base.ids import node_name
from tests.system.celery_client import celery_app, listening
from tests.system.daemon import ONE_PREFORK_WORKER, Daemon
from tests.waiting import wait_until

NODE = node_name("main-1")
WITH_EVENTS = ONE_PREFORK_WORKER + "events = true\n"


@pytest.fixture
def daemon(daemon_over: Callable[[str], Daemon]) -> Daemon:
    return daemon_over(WITH_EVENTS)


def test_a_task_is_told_from_its_receipt_to_its_success(daemon: Daemon) -> None:
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.add", (2, 3)).id

        succeeded = heard.wait("task-succeeded", uuid=task_id)

    received = heard.wait("task-received", uuid=task_id)
    started = heard.wait("task-started", uuid=task_id)
    assert (received["name"], received["args"], received["retries"]) == ("shop.add", "(2, 3)", 0)
    assert received["root_id"] == task_id
    assert succeeded["result"] == "5"
    assert 0 < succeeded["runtime"] < 10
    assert {event["hostname"] for event in (received, started, succeeded)} == {NODE}
    assert {event["pid"] for event in (received, started, succeeded)} == {daemon.pid_of("main-1")}
    assert received["clock"] < started["clock"] < succeeded["clock"]
    assert received["timestamp"] <= succeeded["timestamp"]


def test_a_long_task_is_told_to_have_started_while_it_runs(daemon: Daemon, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.hold", (str(tmp_path / "runs"), str(gate))).id

        heard.wait("task-started", uuid=task_id)
        assert heard.wait("worker-heartbeat", active=1)["processed"] == 0

        gate.touch()
        heard.wait("task-succeeded", uuid=task_id)


def test_a_failure_carries_its_exception_and_traceback(daemon: Daemon) -> None:
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.fail", ("apples", 3)).id

        failed = heard.wait("task-failed", uuid=task_id)

    assert failed["exception"] == "OutOfStock('apples', 3)"
    assert "Traceback" in failed["traceback"]


def test_an_unknown_a_revoked_and_an_expired_task_are_told(daemon: Daemon) -> None:
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        unknown = daemon.app.send_task("shop.nothing").id
        expired = daemon.app.send_task("shop.add", (1, 1), expires=0.001, countdown=0.2).id
        revoked = daemon.app.send_task("shop.add", (1, 1), queue="later").id
        daemon.ctl("revoke", revoked)
        daemon.ctl("control", "add-consumer", "later")

        assert heard.wait("task-failed", uuid=unknown)["exception"] == "NotRegistered('shop.nothing')"
        assert heard.wait("task-revoked", uuid=expired)["expired"] is True
        event = heard.wait("task-revoked", uuid=revoked)

    assert (event["expired"], event["terminated"], event["signum"]) == (False, False, None)
    assert heard.of(revoked) == ["task-revoked"]


def test_a_terminated_task_is_told_with_its_signal(daemon: Daemon, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.hold", (str(runs), str(tmp_path / "gate"))).id
        wait_until(runs.exists, 10)

        daemon.ctl("revoke", task_id, "--terminate")
        event = heard.wait("task-revoked", uuid=task_id)

    assert (event["terminated"], event["signum"]) == (True, signal.SIGTERM)


def test_task_events_are_off_until_a_monitor_enables_them(daemon_over: Callable[[str], Daemon]) -> None:
    daemon = daemon_over(ONE_PREFORK_WORKER)
    control = celery_app(daemon).control
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        silent = daemon.app.send_task("shop.add", (1, 1))
        assert silent.get(timeout=60) == 2

        assert control.enable_events(reply=True) == [{NODE: {"ok": "task events enabled"}}]
        assert control.enable_events(reply=True) == [{NODE: {"ok": "task events already enabled"}}]
        task_id = daemon.app.send_task("shop.add", (1, 1)).id
        heard.wait("task-succeeded", uuid=task_id)
        assert heard.of(silent.id) == []

        assert control.disable_events(reply=True) == [{NODE: {"ok": "task events disabled"}}]
        assert control.disable_events(reply=True) == [{NODE: {"ok": "task events already disabled"}}]
        assert daemon.app.send_task("shop.add", (1, 1)).get(timeout=60) == 2
        heard.wait("worker-heartbeat", processed=3)
        assert len(heard.of(task_id)) == 3


def test_a_draining_worker_beats_on_and_says_goodbye_at_its_end(daemon: Daemon, tmp_path: Path) -> None:
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.hold", (str(runs), str(gate))).id
        wait_until(runs.exists, 10)
        daemon.signal(signal.SIGTERM)
        daemon.wait_draining()
        heard.events.clear()

        heard.wait("worker-heartbeat")
        assert "worker-offline" not in {event["type"] for event in heard.events}
        gate.touch()
        heard.wait("task-succeeded", uuid=task_id)
        heard.wait("worker-offline", hostname=NODE)
        assert daemon.wait_exit() == 0


def test_a_cold_stop_tells_what_it_cuts_short(daemon: Daemon, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.hold", (str(runs), str(tmp_path / "gate"))).id
        wait_until(runs.exists, 10)

        daemon.signal(signal.SIGQUIT)

        heard.wait("task-cancelled", uuid=task_id)
        heard.wait("worker-offline", hostname=NODE)


def test_celerys_own_picture_of_the_cluster_is_right(daemon: Daemon) -> None:
    state = celery_app(daemon).events.State()
    with listening(daemon, state=state) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.add", (2, 3)).id
        heard.wait("task-succeeded", uuid=task_id)

    worker = state.workers[NODE]
    assert worker.alive
    assert (worker.sw_ident, worker.freq > 0) == ("taskd", True)
    task = state.tasks[task_id]
    assert (task.state, task.name, task.result, task.worker.hostname) == ("SUCCESS", "shop.add", "5", NODE)


def test_our_client_tells_what_it_sends_when_it_is_told_to(daemon: Daemon) -> None:
    quiet = daemon.app
    telling = App(config=str(daemon.file), sent_events=True)
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        silent = quiet.send_task("shop.add", (2, 3))
        single = telling.send_task("shop.add", (2, 3), queue="default", expires=60)
        many = telling.send_many([telling.call("shop.add", 1, n) for n in range(3)])

        sent = heard.wait("task-sent", uuid=single.id)
        for each in many:
            heard.wait("task-sent", uuid=each.id)
        heard.wait("task-succeeded", uuid=silent.id)

    assert (sent["name"], sent["args"], sent["kwargs"]) == ("shop.add", "(2, 3)", "{}")
    assert (sent["queue"], sent["routing_key"], sent["retries"]) == ("default", "default", 0)
    assert (sent["root_id"], sent["parent_id"], sent["eta"]) == (single.id, None, None)
    assert sent["expires"] is not None
    assert sent["hostname"].startswith("gen")
    assert "task-sent" not in heard.of(silent.id)
    telling.close()


def test_a_task_tells_events_of_its_own(daemon: Daemon) -> None:
    with listening(daemon) as heard:
        heard.wait("worker-heartbeat")
        task_id = daemon.app.send_task("shop.tells", (3,)).id

        last = heard.wait("task-progress", uuid=task_id, done=2)
        heard.wait("task-succeeded", uuid=task_id)

    assert (last["hostname"], last["of"]) == (NODE, "many")
    assert heard.of(task_id).count("task-progress") == 3
