"""A Django project with its tasks in Celery, unchanged: database, results, commits, Sentry, OpenTelemetry."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests import services
from tests.postgres_servers import PostgresServer
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.system.daemon import ROOT, Daemon
from tests.waiting import wait_until

pytestmark = CELERYS_WARNINGS

PROJECT = ROOT / "tests" / "data" / "shelf"
FILE = """
app = "proj"
broker = "{broker}"
results = "null://"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
[worker.main]
queues = ["celery"]
pool = "{pool}"
concurrency = 2
directory = "{project}"
{more}
"""
ENDED = ("SUCCESS", "FAILURE", "REVOKED")


class Shelf:
    """The project's daemon and database, and a client that has none of its code."""

    def __init__(self, daemon: Daemon, database: PostgresServer, client: Any, seen: Path) -> None:
        self.daemon = daemon
        self.database = database
        self._client = client
        self._seen = seen

    def send(self, name: str, *args: object, **options: object) -> str:
        """Send a task; return its id."""
        sent = self._client.send_task(f"books.tasks.{name}", args, ignore_result=False, **options)
        return str(sent.id)

    def revoke(self, task_id: str) -> None:
        """Revoke a task; return when the worker knows."""
        order = {"arguments": {"task_id": task_id}, "reply": True, "timeout": 60, "limit": 1}
        assert self._client.control.broadcast("revoke", **order)

    def end_of(self, task_id: str) -> tuple[str, Any]:
        """Wait for the end of a task in the table of django_celery_results: its state and its result."""

        def found() -> tuple[str, Any] | None:
            row = self.database.execute(
                "SELECT status, result FROM django_celery_results_taskresult"
                f" WHERE task_id = '{task_id}' AND status IN {ENDED}"
            ).strip()
            state, _, result = row.partition("|")
            return (state, json.loads(result)) if row else None

        return wait_until(found, what=f"the end of {task_id}; the log:\n{self.daemon.log.read_text()}")

    def run(self, name: str, *args: object) -> Any:
        """Run a task to its success; return its result."""
        state, result = self.end_of(self.send(name, *args))
        assert state == "SUCCESS", result
        return result

    def count(self, title: str) -> int:
        """Return how often the tasks have counted a book, or -1 without the book."""
        found = self.database.execute(f"SELECT counted FROM books_book WHERE title = '{title}'").strip()
        return int(found or -1)

    def connections(self, which: str = "true") -> int:
        """Return how many connections the daemon's processes have to the database."""
        backends = f"backend_type = 'client backend' AND pid <> pg_backend_pid() AND {which}"
        return int(self.database.execute(f"SELECT count(*) FROM pg_stat_activity WHERE {backends}"))

    def seen(self, by: str) -> list[dict[str, Any]]:
        """Return what was told to Sentry, or to OpenTelemetry."""
        lines = self._seen.read_text().splitlines() if self._seen.exists() else []
        return [line for line in map(json.loads, lines) if line["by"] == by]


@pytest.fixture(scope="module")
def database() -> Iterator[PostgresServer]:
    server = PostgresServer()
    yield server
    server.end()


@pytest.fixture
def open_shelf(
    make_daemon: Callable[..., Daemon],
    database: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Callable[..., Shelf]]:
    opened = []

    def open_one(pool: str = "prefork", more: str = "", over: str = "redis") -> Shelf:
        broker = services.redis_database() if over == "redis" else services.rabbit_url()
        seen = tmp_path / "seen"
        monkeypatch.setenv("SHELF_BROKER", broker)
        monkeypatch.setenv("SHELF_DATABASE_PORT", str(database.port))
        monkeypatch.setenv("SHELF_SEEN", str(seen))
        migrate(database)
        file = FILE.format(broker=broker, pool=pool, project=PROJECT, more=more)
        daemon = make_daemon("", head=file)
        daemon.start()
        opened.append(client_over(broker))
        return Shelf(daemon, database, opened[-1].__enter__(), seen)

    yield open_one
    for each in opened:
        each.__exit__(None, None, None)


def migrate(database: PostgresServer) -> None:
    """Make the tables anew, with the project's own command."""
    database.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    command = [
        sys.executable,
        "-m",
        "django",
        "migrate",
        "--run-syncdb",
        "-v0",
        "--settings",
        "proj.settings",
    ]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


POOLS = pytest.mark.parametrize(
    "pool", ["prefork", "threads", pytest.param("gevent", marks=pytest.mark.slow)]
)


@POOLS
def test_a_task_that_waits_for_a_commit_runs_after_it_and_only_then(
    open_shelf: Callable[..., Shelf], pool: str
) -> None:
    shelf = open_shelf(pool)

    shelf.run("add", "kept")
    state, error = shelf.end_of(shelf.send("add", "dropped", True))

    wait_until(lambda: shelf.count("kept") == 1)
    assert (state, error["exc_type"], shelf.count("dropped")) == ("FAILURE", "ValueError", -1)


@POOLS
def test_a_database_that_dies_during_work_costs_no_end_and_none_of_the_tasks_after_it(
    open_shelf: Callable[..., Shelf], pool: str
) -> None:
    shelf = open_shelf(pool)
    at_work = [shelf.send("about_connection", 2) for _ in range(4)]
    wait_until(lambda: shelf.connections("query LIKE '%pg_sleep%'") == 2, what="work in the database")

    shelf.database.kill()
    shelf.database.start()

    assert {shelf.end_of(each)[0] for each in at_work} <= {"SUCCESS", "FAILURE"}
    shelf.run("add", "a")
    wait_until(lambda: shelf.count("a") == 1)
    assert [shelf.run("count", "a") for _ in range(4)] == [2, 3, 4, 5]


def test_a_task_whose_connection_is_cut_under_it_fails_and_the_next_runs(
    open_shelf: Callable[..., Shelf],
) -> None:
    shelf = open_shelf()

    cut = shelf.send("about_connection", 600)
    wait_until(lambda: shelf.connections("query LIKE '%pg_sleep%'") == 1, what="work in the database")
    shelf.database.cut_all()

    assert shelf.end_of(cut)[0] == "FAILURE"
    assert shelf.run("about_connection")


def test_the_processes_of_the_pool_have_connections_of_their_own(open_shelf: Callable[..., Shelf]) -> None:
    shelf = open_shelf()

    seen = [shelf.end_of(each)[1] for each in [shelf.send("about_connection", 1) for _ in range(4)]]

    assert len({process for process, _ in seen}) == 2
    assert len({backend for _, backend in seen}) == len(seen)
    # Celery closes them after each task; the process that all were forked from never had one.
    wait_until(lambda: shelf.connections() == 0, what="the end of the last connection")


@pytest.mark.parametrize("pool", ["prefork", "threads"])
def test_sentry_and_opentelemetry_hear_of_every_task_until_the_last_process_has_left(
    open_shelf: Callable[..., Shelf], pool: str
) -> None:
    shelf = open_shelf(pool, more="max_tasks_per_child = 3" if pool == "prefork" else "")

    failed = [shelf.send("fail", f"reason {number}") for number in range(8)]
    ran = [shelf.send("about_connection") for _ in range(4)]
    ends = [shelf.end_of(each)[0] for each in (*failed, *ran)]
    shelf.daemon.stop()

    assert ends == ["FAILURE"] * 8 + ["SUCCESS"] * 4
    events = shelf.seen("sentry")
    assert sorted(each["task_id"] for each in events) == sorted(failed)
    assert {each["error"] for each in events} == {"LookupError"}
    assert sorted(each["task_id"] for each in shelf.seen("otel")) == sorted([*failed, *ran])


@pytest.mark.parametrize("over", ["redis", "rabbitmq"])
def test_ends_that_the_worker_decides_stand_in_the_table_of_results(
    open_shelf: Callable[..., Shelf], over: str
) -> None:
    shelf = open_shelf(more="max_deaths = 1", over=over)
    revoked = str(uuid4())
    shelf.revoke(revoked)

    sent = {
        "WorkerLostError": shelf.send("die"),
        "TimeLimitExceeded": shelf.send("overrun"),
        "NotRegistered": shelf.send("nowhere"),
        # Not by the option: RabbitMQ would drop the message before the worker sees it.
        "expired": shelf.send("count", "a", headers={"expires": "2020-01-01T00:00:00+00:00"}),
        "revoked": shelf.send("count", "a", task_id=revoked),
    }
    ends = {name: shelf.end_of(task_id) for name, task_id in sent.items()}

    states = {name: state for name, (state, _) in ends.items()}
    reasons = {name: result["exc_message"] for name, (_, result) in ends.items()}
    kinds = {name: result["exc_type"] for name, (_, result) in ends.items()}
    failures = {"WorkerLostError", "TimeLimitExceeded", "NotRegistered"}
    assert states == {name: "FAILURE" if name in failures else "REVOKED" for name in sent}
    assert kinds == {name: name if name in failures else "TaskRevokedError" for name in sent}
    assert (reasons["expired"], reasons["revoked"]) == (["expired"], ["revoked"])
    shelf.run("add", "after all")
