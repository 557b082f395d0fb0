"""Results as messages over RabbitMQ: Celery's client on our workers, ours on theirs and on our own."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import exceptions as celery_errors

from taskd import App
from taskd.protocol.exceptions import NotRegistered, TaskRevokedError, WorkerLostError
from tests import services
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.celery_worker import CeleryWorker
from tests.system.daemon import Daemon, head_over
from tests.waiting import wait_until

WORKER = """
[worker.main]
queues = ["celery", "default"]
concurrency = 2
max_deaths = 1
"""
pytestmark = CELERYS_WARNINGS


@pytest.fixture(scope="module")
def url() -> str:
    return services.rabbit_url()


@pytest.fixture(scope="module")
def daemon(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    made = Daemon(tmp_path_factory.mktemp("daemon"), WORKER, head=head_over(url, "rpc://", app="wired_app"))
    made.start()
    yield made
    made.end()


@pytest.fixture
def celery(url: str) -> Iterator[Any]:
    with client_over(url, "rpc://") as made:
        yield made


@pytest.fixture
def app(daemon: Daemon) -> Iterator[App]:
    client = App(config=str(daemon.file))
    yield client
    client.close()


@pytest.fixture(scope="module")
def theirs(url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    patch = pytest.MonkeyPatch()
    patch.setenv("TEST_RESULTS", "rpc://")
    worker = CeleryWorker(url, "celery@theirs", tmp_path_factory.mktemp("celery") / "log")
    patch.undo()
    worker.wait_ready()
    yield
    worker.end()


def send(client: Any, name: str, *args: object, **options: Any) -> Any:
    return client.send_task(f"wired.{name}", args, **options)


def test_celerys_client_gets_what_our_tasks_return_and_raise(daemon: Daemon, celery: Any) -> None:
    assert send(celery, "add", 2, 3).get(timeout=60) == 5
    assert [each.get(timeout=60) for each in [send(celery, "add", n) for n in range(30)]] == list(range(30))
    with pytest.raises(LookupError, match="no such"):
        send(celery, "fail").get(timeout=60)


def test_celerys_client_sees_the_states_on_the_way(daemon: Daemon, celery: Any, tmp_path: Path) -> None:
    counting = send(celery, "progress", str(tmp_path))
    wait_until(lambda: counting.state == "STARTED", 20)
    (tmp_path / "first").touch()
    wait_until(lambda: counting.state == "COUNTING", 20)
    assert counting.info == {"at": "first"}
    for gate in ("second", "third"):
        (tmp_path / gate).touch()
    assert counting.get(timeout=60) == "counted"


@pytest.mark.slow
def test_celerys_client_gets_the_whole_of_a_retried_task_and_of_a_chain(
    daemon: Daemon, celery: Any, tmp_path: Path
) -> None:
    again = send(celery, "again", str(tmp_path / "gate"))
    wait_until(lambda: again.state == "RETRY", 20)
    (tmp_path / "gate").touch()
    steps = celery.signature("wired.add", (1, 2)) | celery.signature("wired.add", (3,))
    failing = celery.signature("wired.fail") | celery.signature("wired.add", (3,))

    assert again.get(timeout=60) > 0
    assert steps.apply_async().get(timeout=60) == 6
    with pytest.raises(LookupError):
        failing.apply_async().get(timeout=60)


@pytest.mark.slow
def test_celerys_client_is_answered_when_the_worker_decides(
    daemon: Daemon, celery: Any, tmp_path: Path
) -> None:
    runs, gate = tmp_path / "runs", tmp_path / "gate"
    lost = send(celery, "hold", str(runs), str(gate))
    wait_until(lambda: runs.exists() and bool(runs.read_text().split()), 20)
    os.kill(int(runs.read_text()), signal.SIGKILL)
    late = send(celery, "hold", str(tmp_path / "late"), str(gate), time_limit=0.3)
    terminated = send(celery, "hold", str(tmp_path / "terminated"), str(gate))
    wait_until((tmp_path / "terminated").exists, 20)
    terminated.revoke(terminate=True)
    expired = send(celery, "add", 1, expires=-1)
    unknown = celery.send_task("wired.nobody")

    for result, error in (
        (lost, "WorkerLostError"),
        (late, "TimeLimitExceeded"),
        (terminated, "TaskRevokedError"),
        (expired, "TaskRevokedError"),
        (unknown, "NotRegistered"),
    ):
        with pytest.raises(Exception, match=r".") as raised:
            result.get(timeout=60)
        assert type(raised.value).__name__ == error, result


def test_our_client_is_answered_too(daemon: Daemon, app: App, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    lost = send(app, "hold", str(runs), str(tmp_path / "gate"))
    wait_until(lambda: runs.exists() and bool(runs.read_text().split()), 20)
    os.kill(int(runs.read_text()), signal.SIGKILL)

    assert send(app, "add", 2, 3).get(timeout=60) == 5
    with pytest.raises(LookupError, match="no such"):
        send(app, "fail").get(timeout=60)
    with pytest.raises(WorkerLostError):
        lost.get(timeout=60)
    with pytest.raises(TaskRevokedError):
        send(app, "add", 1, countdown=0.3, expires=0.1).get(timeout=60)
    with pytest.raises(NotRegistered):
        send(app, "nobody").get(timeout=60)


@pytest.mark.slow
def test_our_client_waits_for_many_and_several_threads_wait(daemon: Daemon, app: App) -> None:
    many = [send(app, "add", number, 1) for number in range(300)]
    found: dict[int, object] = {}
    threads = [
        threading.Thread(target=lambda at=at: found.update({at: many[at].get(timeout=60)}))
        for at in (299, 0, 150)
    ]
    for thread in threads:
        thread.start()

    assert app.wait_all(many, timeout=60) == list(range(1, 301))
    for thread in threads:
        thread.join(60)
    assert found == {299: 300, 0: 1, 150: 151}


def test_a_task_that_sends_a_task_may_wait_for_it(daemon: Daemon, app: App) -> None:
    assert send(app, "waits_for", "wired.add", 2, 3).get(timeout=60) == 5


@pytest.mark.slow
def test_results_survive_a_connection_that_is_cut(daemon: Daemon, app: App, url: str) -> None:
    sent = [send(app, "add", number) for number in range(5)]
    assert sent[0].get(timeout=60) == 0

    services.rabbit_server().control("close_all_connections", "for the test")

    assert [each.get(timeout=60) for each in sent] == list(range(5))
    assert send(app, "add", 7).get(timeout=60) == 7


@pytest.mark.slow
def test_our_client_reads_what_a_celery_worker_answers(theirs: None, url: str) -> None:
    app = App(broker=url, results="rpc://")

    def ask(name: str, *args: object) -> Any:
        return app.send_task(f"theirs.{name}", args, queue="theirs")

    assert ask("add", 1, 2).get(timeout=60) == 3
    assert app.wait_all([ask("add", n, n) for n in range(50)], timeout=60) == [2 * n for n in range(50)]
    with pytest.raises(LookupError, match="no such"):
        ask("fail").get(timeout=60)
    parent = ask("parent")
    assert parent.get(timeout=60) == parent.children[0].id
    app.close()


@pytest.mark.slow
def test_nobody_else_can_ask_for_a_result(daemon: Daemon, app: App) -> None:
    assert daemon.ctl("send", "wired.add", "[2, 3]", "--wait", "20s").stdout.strip() == "5"
    assert "process that sent the task" in daemon.ctl("result", "some-id", check=False).stderr


def test_celerys_client_is_told_that_a_task_is_revoked(daemon: Daemon, celery: Any) -> None:
    celery.control.revoke("known-beforehand", reply=True, timeout=60, limit=1)
    waiting = send(celery, "add", 1, task_id="known-beforehand")

    with pytest.raises(celery_errors.TaskRevokedError):
        waiting.get(timeout=60)
