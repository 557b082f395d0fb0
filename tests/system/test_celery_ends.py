"""Ends that the worker decides reach an unmodified Celery app: its backend, its clients, its receivers."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from billiard.exceptions import TimeLimitExceeded, WorkerLostError
from celery import chain, chord
from celery.exceptions import ChordError, NotRegistered, TaskRevokedError

from tests import services
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.daemon import Daemon, head_over
from tests.waiting import wait_until

pytestmark = CELERYS_WARNINGS

WORKER = """
[worker.main]
queues = ["celery"]
pool = "prefork"
max_deaths = 1
lease = "3s"
"""


class Wharf:
    """A daemon whose worker runs the app, and a client of that app that has none of its code."""

    def __init__(self, daemon: Daemon, client: Any, room: Path) -> None:
        self.daemon = daemon
        self.client = client
        self.room = room

    def call(self, name: str, *args: object) -> Any:
        return self.client.signature(f"tests.system.wharf.{name}", args)

    def send(self, name: str, *args: object, **options: Any) -> Any:
        return self.call(name, *args).apply_async(**options)

    def hears(self, line: str) -> None:
        notes = self.room / "notes"
        wait_until(
            lambda: notes.exists() and line in notes.read_text().splitlines(),
            20,
            f"{line!r}; the log:\n{self.daemon.log.read_text()}",
        )

    def order(self, command: str, **arguments: object) -> None:
        assert self.client.control.broadcast(command, arguments=arguments, reply=True, timeout=60, limit=1)


@pytest.fixture(params=["redis", "sql"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return f"db+sqlite:///{tmp_path}/results.db" if request.param == "sql" else services.redis_database()


@pytest.fixture
def open_wharf(
    make_daemon: Callable[..., Daemon], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Wharf]]:
    clients = []

    def open_one(backend: str, pool: str = "prefork") -> Wharf:
        broker = services.redis_database()
        monkeypatch.setenv("TEST_BROKER", broker)
        monkeypatch.setenv("TEST_BACKEND", backend)
        monkeypatch.setenv("TEST_NOTES", str(tmp_path / "notes"))
        results = backend if backend.startswith("redis") else broker
        slots = "" if pool == "solo" else "concurrency = 2\n"
        table = WORKER.replace("prefork", pool) + slots
        daemon = make_daemon(table, head=head_over(broker, results, app="wharf"))
        daemon.start()
        clients.append(client_over(broker, backend))
        return Wharf(daemon, clients[-1].__enter__(), tmp_path)

    yield open_one
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def wharf(open_wharf: Callable[..., Wharf], backend: str) -> Wharf:
    return open_wharf(backend)


@pytest.mark.parametrize("name", ["dies", "dies_early"])
def test_a_lost_child(wharf: Wharf, name: str) -> None:
    sent = wharf.send(name, link_error=wharf.call("told"))

    with pytest.raises(WorkerLostError, match=r"signal 9 \(SIGKILL\)"):
        sent.get(timeout=60)
    wharf.hears(f"task_failure {sent.id} WorkerLostError True")
    wharf.hears(f"errback {sent.id} WorkerLostError")


def test_messages_of_failed_tasks_are_kept(wharf: Wharf) -> None:
    with pytest.raises(ValueError, match="nobody saw it"):
        wharf.send("sinks_in_secret").get(timeout=60)
    expected = {
        wharf.send("sinks", "the Vasa").id: "ValueError('the Vasa')",
        wharf.send("dies_early").id: "its process died: signal 9 (SIGKILL)",
        wharf.send("overdue").id: "it was ended by its limit of 1 s",
    }

    def kept() -> dict[object, object]:
        return {each["task_id"]: each["reason"] for each in wharf.daemon.dead_letters("failed")}

    wait_until(lambda: kept() == expected, what="the letters of all three")
    assert wharf.daemon.dead_letters() == []


def test_a_hard_limit(wharf: Wharf) -> None:
    sent = wharf.send("overdue", link_error=wharf.call("told_by_id"))

    with pytest.raises(TimeLimitExceeded):
        sent.get(timeout=60)
    wharf.hears(f"on_failure {sent.id} TimeLimitExceeded")
    wharf.hears(f"task_failure {sent.id} TimeLimitExceeded True")
    wharf.hears(f"errback {sent.id}")


def test_a_task_that_is_revoked_before_it_runs(wharf: Wharf) -> None:
    task_id = str(uuid4())
    wharf.order("revoke", task_id=task_id)
    sent = wharf.send("gated", "nowhere", task_id=task_id)

    with pytest.raises(TaskRevokedError, match="revoked"):
        sent.get(timeout=60)
    wharf.hears(f"task_revoked {task_id} False None False ['nowhere']")


def test_a_task_that_is_ended_while_it_runs(wharf: Wharf) -> None:
    sent = wharf.send("gated", "nowhere")
    wharf.hears(f"began {sent.id}")
    wharf.order("revoke", task_id=sent.id, terminate=True, signal="SIGTERM")

    with pytest.raises(TaskRevokedError, match="terminated"):
        sent.get(timeout=60)
    wharf.hears(f"task_revoked {sent.id} True 15 False ['nowhere']")


def test_a_task_that_expired(wharf: Wharf) -> None:
    first = [wharf.send("gated", str(wharf.room / "gate")) for _ in range(2)]
    for each in first:
        wharf.hears(f"began {each.id}")
    sent = wharf.send("gated", "nowhere", expires=0.1)
    (wharf.room / "gate").touch()
    late = wharf.send("gated", "nowhere", expires=-5)

    with pytest.raises(TaskRevokedError, match="expired"):
        late.get(timeout=60)
    wharf.hears(f"task_revoked {late.id} False None True ['nowhere']")
    assert sent.id != late.id


def test_a_task_that_the_app_does_not_have(wharf: Wharf) -> None:
    sent = wharf.send("missing", 17, link_error=wharf.call("told"))

    with pytest.raises(NotRegistered):
        sent.get(timeout=60)
    wharf.hears(f"task_unknown {sent.id} tests.system.wharf.missing [17]")
    wharf.hears(f"errback {sent.id} NotRegistered")


@pytest.mark.parametrize("part", ["dies", "overdue", "missing", "expired"])
def test_a_chord_ends_with_its_part(wharf: Wharf, part: str) -> None:
    ending = wharf.call("one").set(expires=-5) if part == "expired" else wharf.call(part)
    body = wharf.call("total").on_error(wharf.call("told"))
    sent = chord([wharf.call("one"), ending], app=wharf.client)(body)

    with pytest.raises(ChordError):
        # Not the one that was sent: it would raise for its header first.
        wharf.client.AsyncResult(sent.id).get(timeout=60)
    wharf.hears(f"errback {sent.id} ChordError")


def test_a_chord_ends_with_the_first_step_of_a_chain_in_it(wharf: Wharf) -> None:
    steps = chain(wharf.call("one").set(expires=-5), wharf.call("total"), app=wharf.client)
    sent = chord([steps, wharf.call("one")], app=wharf.client)(wharf.call("total"))

    with pytest.raises(ChordError):
        # Not the one that was sent: it would raise for its header first.
        wharf.client.AsyncResult(sent.id).get(timeout=60)


def test_the_rest_of_a_chain_ends_with_its_first_step(wharf: Wharf) -> None:
    last = chain(wharf.call("dies"), wharf.call("total"), wharf.call("total"), app=wharf.client).delay()

    with pytest.raises(WorkerLostError):
        last.get(timeout=60)


def test_a_worker_that_is_killed_before_the_backend_has_an_end_leaves_the_message(
    open_wharf: Callable[..., Wharf], tmp_path: Path
) -> None:
    file = tmp_path / "results.db"
    wharf = open_wharf(f"db+sqlite:///{file}")
    assert wharf.send("one").get(timeout=60) == 1
    with closing(sqlite3.connect(file, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        overdue = wharf.send("overdue")
        expired = wharf.send("one", expires=-5)
        wait_until(lambda: f"id={overdue.id} ended by its limit" in wharf.daemon.log.read_text())
        wait_until(lambda: f"id={expired.id} expired before it ran" in wharf.daemon.log.read_text())
        (pid,) = [row["pid"] for row in wharf.daemon.rows()]
        assert isinstance(pid, int)
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: [row["pid"] for row in wharf.daemon.rows()] not in ([pid], [None], [0]))

    with pytest.raises(TimeLimitExceeded):
        overdue.get(timeout=60)
    with pytest.raises(TaskRevokedError):
        expired.get(timeout=60)


def test_ends_wait_for_a_backend_that_is_away(open_wharf: Callable[..., Wharf], tmp_path: Path) -> None:
    file = tmp_path / "results.db"
    wharf = open_wharf(f"db+sqlite:///{file}")
    assert wharf.send("one").get(timeout=60) == 1
    with closing(sqlite3.connect(file, isolation_level=None)) as lock:
        lock.execute("BEGIN EXCLUSIVE")
        dead = wharf.send("dies_early")
        wait_until(lambda: f"id={dead.id} its end FAILURE is not stored" in wharf.daemon.log.read_text())

    with pytest.raises(WorkerLostError):
        dead.get(timeout=60)


@pytest.mark.parametrize(
    "pool",
    [
        "threads",
        "solo",
        pytest.param("gevent", marks=pytest.mark.slow),
        pytest.param("eventlet", marks=pytest.mark.slow),
    ],
)
def test_workers_without_children_take_ends(open_wharf: Callable[..., Wharf], pool: str) -> None:
    wharf = open_wharf(services.redis_database(), pool)

    with pytest.raises(TaskRevokedError):
        wharf.send("one", expires=-5).get(timeout=60)
    with pytest.raises(NotRegistered):
        wharf.send("missing").get(timeout=60)
    assert wharf.send("one").get(timeout=60) == 1
