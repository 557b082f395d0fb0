"""A real Celery worker and ours in one cluster: they share a queue, what is revoked, and the monitors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from taskd.base.ids import node_name
from tests.services import RedisServer
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.celery_worker import CeleryWorker, celery, nodes
from tests.system.daemon import ROOT, Daemon, head_over
from tests.waiting import wait_until

WORKER = """
[log]
level = "debug"
[worker.main]
queues = ["default"]
pool = "threads"
concurrency = 2
events = true
"""
OURS, THEIRS = node_name("main-1"), "celery@theirs"
#: A worker that is not there yet answers no question; it is asked anew.
LOOK_S = 2.0

pytestmark = CELERYS_WARNINGS


@pytest.fixture
def url() -> Iterator[str]:
    server = RedisServer()
    yield server.url
    server.end()


@pytest.fixture
def client(url: str) -> Iterator[Any]:
    with client_over(url, url) as made:
        yield made


@pytest.fixture
def make_theirs(url: str, tmp_path: Path) -> Iterator[Callable[..., CeleryWorker]]:
    made: list[CeleryWorker] = []

    def make(*options: str) -> CeleryWorker:
        made.append(CeleryWorker(url, THEIRS, tmp_path / f"celery{len(made)}.log", *options))
        made[-1].wait_ready()
        return made[-1]

    yield make
    for each in made:
        each.end()


@pytest.fixture
def daemon(make_daemon: Callable[..., Daemon], url: str) -> Daemon:
    return make_daemon(WORKER, head=head_over(url, url, app="wired_app"))


def is_told_three_times(task_id: str, dump: Path) -> bool:
    return dump.read_text().count(task_id) >= 3


def revoked(client: Any, node: str) -> list[str]:
    return list((client.control.inspect([node], timeout=LOOK_S).revoked() or {}).get(node, []))


@pytest.mark.slow
def test_each_learns_at_its_start_what_the_other_has_revoked(
    daemon: Daemon, make_theirs: Callable[..., CeleryWorker], client: Any
) -> None:
    theirs = make_theirs()
    client.control.revoke("first", reply=True, limit=1, timeout=60)
    daemon.start()
    wait_until(lambda: "first" in revoked(client, OURS), 10)

    theirs.end()
    client.control.revoke("second", reply=True, limit=1, timeout=60)
    make_theirs().wait_for("sync complete")

    wait_until(lambda: {"first", "second"} <= set(revoked(client, THEIRS)), 20)


@pytest.mark.slow
def test_each_sees_the_other_come_go_and_be_lost(
    daemon: Daemon, make_theirs: Callable[..., CeleryWorker]
) -> None:
    daemon.start()
    theirs = make_theirs()

    def log() -> str:
        return daemon.log.read_text()

    theirs.wait_for("sync complete")
    wait_until(lambda: f"{THEIRS} is there" in log(), 20)
    theirs.end(signal.SIGTERM)
    wait_until(lambda: f"{THEIRS} has left" in log(), 20)

    again = make_theirs()
    again.end(signal.SIGKILL)
    wait_until(lambda: f"missed the heartbeat of {THEIRS}" in log(), 30)


def test_a_celery_worker_sees_ours_come_and_leave(
    daemon: Daemon, make_theirs: Callable[..., CeleryWorker]
) -> None:
    theirs = make_theirs("-l", "DEBUG")
    daemon.start()
    theirs.wait_for(f"{OURS} joined the party")

    os.kill(daemon.pid_of("main-1"), signal.SIGTERM)

    theirs.wait_for(f"{OURS} left")


@pytest.mark.slow
def test_inspect_and_control_reach_both(
    daemon: Daemon, make_theirs: Callable[..., CeleryWorker], url: str
) -> None:
    make_theirs()
    daemon.start()

    for words in (
        ("inspect", "ping"),
        ("inspect", "stats"),
        ("inspect", "active_queues"),
        ("inspect", "clock"),
    ):
        answer = celery(url, *words, "--json", "--timeout", "3")
        assert answer.returncode == 0, answer.stderr
        assert nodes(json.loads(answer.stdout)) == ["celery", "main-1"]
    for command in (
        ("enable_events",),
        ("add_consumer", "extra"),
        ("cancel_consumer", "extra"),
        ("pool_grow", "1"),
    ):
        answer = celery(url, "control", *command, "--destination", OURS, "--timeout", "3")
        assert answer.returncode == 0, answer.stdout + answer.stderr
        assert "OK" in answer.stdout


def test_what_ours_cannot_do_is_refused_with_the_reason(daemon: Daemon, client: Any) -> None:
    daemon.start()

    def tell(command: str, *args: Any) -> str:
        (reply,) = getattr(client.control, command)(*args, destination=[OURS], reply=True, timeout=60)
        return str(reply[OURS]["error"])

    assert tell("pool_restart").startswith("ValueError('Pool restarts not enabled')")
    assert tell("autoscale", 3, 1).startswith("ValueError('Autoscale not enabled')")


@pytest.mark.slow
def test_celery_events_dump_shows_the_tasks_of_both(
    daemon: Daemon, make_theirs: Callable[..., CeleryWorker], client: Any, url: str, tmp_path: Path
) -> None:
    make_theirs("-E")
    daemon.start()
    dump = tmp_path / "dump"
    program = str(Path(sys.executable).with_name("celery"))
    environment = {**os.environ, "TEST_BROKER": url, "PYTHONUNBUFFERED": "1"}
    with dump.open("wb") as output:
        monitor = subprocess.Popen(
            [program, "-A", "tests.system.celery_tools", "events", "--dump"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=output,
        )
    try:
        wait_until(lambda: OURS in dump.read_text() and THEIRS in dump.read_text(), 30)  # heartbeats
        results = [
            client.send_task("wired.add", (1, 2), queue="default"),
            client.send_task("theirs.add", (3, 4), queue="theirs"),
        ]
        assert [each.get(timeout=60) for each in results] == [3, 7]
        silent = client.send_task("wired.quiet", (1,), queue="default")
        silent.get(timeout=60)
        results.append(client.send_task("wired.add", (5,), queue="default"))
        for each in results:
            wait_until(partial(is_told_three_times, each.id, dump))
        assert silent.id not in dump.read_text()
    finally:
        monitor.kill()
        monitor.wait()


def test_both_take_from_one_queue_while_one_replaces_the_other(
    daemon: Daemon, make_theirs: Callable[..., CeleryWorker], client: Any
) -> None:
    daemon.file.write_text(daemon.file.read_text().replace('queues = ["default"]', 'queues = ["shared"]'))
    theirs = make_theirs("-Q", "shared")
    sent = [client.send_task("both.add", (n,), queue="shared") for n in range(200)]
    daemon.start()
    sent += [client.send_task("both.add", (n,), queue="shared") for n in range(200)]
    theirs.end(signal.SIGTERM)
    sent += [client.send_task("both.add", (n,), queue="shared") for n in range(50)]

    words = [str(each.get(timeout=60)).split()[0] for each in sent]

    assert len(words) == 450
    assert set(words) == {"celery", "taskd"}
