"""A shadow run beside Celery's own worker says what taskd would have done, and the worker notices nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest
from redis import Redis

from taskd.base import exit_codes
from tests import services
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.waiting import wait_until

pytestmark = CELERYS_WARNINGS

APP = """\
import os

from celery import Celery

app = Celery("yard", broker=os.environ["TEST_BROKER"])
app.conf.update(task_default_queue="yard", task_acks_late=True)


@app.task(name="yard.mark", bind=True, time_limit=60)
def mark(self, number):
    with open("marks", "a") as lines:
        lines.write(f"{number} {bool(self.request.delivery_info['redelivered'])}\\n")
"""
PROGRAMS = Path(sys.executable).parent
RABBIT = pytest.param("rabbit", marks=pytest.mark.slow)
Started = subprocess.Popen[bytes]


@dataclass(frozen=True)
class Yard:
    """The code of an app and its broker."""

    place: Path
    url: str
    start: Callable[..., Started]

    def shadow(self, *words: str) -> Started:
        """Start a shadow run; its output goes to files."""
        return self.start("taskctl", "import", "celery", "yard", "--shadow", *words)

    def read(self, name: str) -> str:
        """Return what a program has written so far."""
        file = self.place / name
        return file.read_text() if file.exists() else ""

    def wait_watching(self) -> None:
        """Wait until a shadow run sees what comes."""
        wait_until(lambda: "watching yard" in self.read("taskctl.err"), what="the watch")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Started]]:
    """Return what starts a program in the directory of the code; it ends with the test."""
    started: list[Started] = []

    def begin(url: str, program: str, *words: str) -> Started:
        with (tmp_path / f"{program}.out").open("wb") as out, (tmp_path / f"{program}.err").open("wb") as err:
            environment = {**os.environ, "TEST_BROKER": url, "PYTHONPATH": ""}
            process = subprocess.Popen(
                [PROGRAMS / program, *words], cwd=tmp_path, stdout=out, stderr=err, env=environment
            )
        started.append(process)
        return process

    yield begin
    for process in started:
        process.kill()
        process.wait(60)


def traced() -> str:
    url = services.rabbit_url()
    services.rabbit_server().control("trace_on", "-p", url.rpartition("/")[2])
    return url


@pytest.fixture
def make_yard(tmp_path: Path, start: Callable[..., Started]) -> Callable[[str], Yard]:
    """Return what makes the code for a broker."""

    def make(url: str) -> Yard:
        (tmp_path / "yard.py").write_text(APP)
        return Yard(tmp_path, url, lambda *words: start(url, *words))

    return make


@pytest.fixture(params=["redis", RABBIT])
def yard(request: pytest.FixtureRequest, make_yard: Callable[[str], Yard]) -> Yard:
    """The code of an app, over each broker that can be watched."""
    return make_yard(services.redis_database() if request.param == "redis" else traced())


def send(yard: Yard, count: int) -> None:
    """Send tasks of the app, and between them some that it has not, or cannot read."""
    with client_over(yard.url) as client:
        client.conf.broker_transport_options = {"confirm_publish": True}
        for number in range(count):
            client.send_task("yard.mark", (number,), queue="yard")
        client.send_task("yard.gone", queue="yard")
        client.send_task("yard.mark", (-1,), queue="yard", serializer="pickle")
        client.send_task("yard.mark", (count,), queue="yard")


def held_by(yard: Yard) -> Mapping[str, Any]:
    """Return what the broker holds; connections of watchers among it."""
    if yard.url.startswith("amqp"):
        host = yard.url.rpartition("/")[2]
        columns = ("name", "messages_ready", "messages_unacknowledged")
        rows = services.rabbit_server().control("list_queues", "-p", host, "--no-table-headers", *columns)
        return {line.split("\t")[0]: line.split("\t")[1:] for line in rows.splitlines()}
    with closing(Redis.from_url(yard.url)) as admin:
        database = int(yard.url.rpartition("/")[2])
        watchers = [
            each["id"] for each in admin.client_list() if "O" in each["flags"] and each["db"] == str(database)
        ]
        found = {repr(key): admin.dump(key) for key in admin.scan_iter()}
        return {**found, "watchers": watchers}


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_the_worker_beside_notices_nothing_and_the_report_has_every_message(yard: Yard) -> None:
    worker = yard.start("celery", "-A", "yard", "worker", "-P", "solo", "-n", "w@h", "-l", "INFO")
    wait_until(lambda: "ready." in yard.read("celery.err"), what="Celery's worker")
    shadow = yard.shadow("1h", "--json")
    yard.wait_watching()

    send(yard, 30)
    wait_until(lambda: yard.read("marks").count("\n") == 31, what="31 marks")
    shadow.send_signal(signal.SIGINT)

    assert shadow.wait(60) == exit_codes.FAILURE
    report = json.loads(yard.read("taskctl.out"))["shadow"]
    by_name = {task["name"]: task for task in report["tasks"]}
    assert (by_name["yard.mark"]["run"], by_name["yard.mark"]["refuse"]) == (31, 1)
    assert by_name["yard.gone"]["unknown"] == 1
    assert report["seen"] == 33
    assert {(each["fate"], each["task"]) for each in report["troubles"]} == {
        ("refuse", "yard.mark"),
        ("unknown", "yard.gone"),
    }
    assert report["ended_by"] == "a signal"
    assert yard.read("marks").splitlines() == [f"{number} False" for number in range(31)]
    worker.terminate()
    worker.wait(60)
    assert yard.read("celery.err").count("succeeded in") == 31
    left = held_by(yard)
    assert left.get("yard", ["0", "0"]) == ["0", "0"]
    assert not {key for key in left if key == "b'yard'" or "unacked" in key or "taskd" in key}


def test_a_watcher_that_is_killed_leaves_everything_as_it_was(yard: Yard) -> None:
    send(yard, 3)
    before = held_by(yard)
    shadow = yard.shadow("1h")
    yard.wait_watching()
    assert held_by(yard) != before, "the watcher is not seen"
    others = psutil.Process(shadow.pid).children(recursive=True)
    assert others

    shadow.kill()
    shadow.wait(60)

    wait_until(lambda: held_by(yard) == before, what="what the broker held before")
    wait_until(lambda: all(has_ended(each) for each in others), what="the end of its processes")


def test_a_watch_ends_by_sigterm_with_its_report(yard: Yard) -> None:
    shadow = yard.shadow("1h", "--output", "taskd.toml")
    yard.wait_watching()
    send(yard, 2)
    shadow.terminate()

    assert shadow.wait(60) == exit_codes.FAILURE
    report = yard.read("taskctl.out")
    assert "Shadow run: 5 messages seen in 1 queue" in report
    assert "ended early: a signal; none was taken" in report
    assert "yard.mark: 3 would run, 1 would be refused; acks late, limit 60 s; queue yard" in report
    assert "[worker.main], prefork" in report
    assert "yard.gone: 1 of 1, no task of the app has this name; queue yard, from " in report
    assert (yard.place / "taskd.toml").exists()


def test_what_waits_on_redis_is_judged_without_a_watch(make_yard: Callable[[str], Yard]) -> None:
    yard = make_yard(services.redis_database())
    with client_over(yard.url) as client:
        client.send_task("yard.mark", (1,), queue="yard")

    assert yard.shadow("0").wait(60) == exit_codes.OK
    assert "1 would run; [worker.main], prefork" in yard.read("taskctl.err")


@pytest.mark.slow
def test_a_rabbitmq_that_does_not_trace_is_refused_before_anything_is_written(
    make_yard: Callable[[str], Yard],
) -> None:
    yard = make_yard(services.rabbit_url())

    assert yard.shadow("1h", "--output", "taskd.toml").wait(60) == exit_codes.FAILURE
    assert "rabbitmqctl trace_on -p " in yard.read("taskctl.err")
    assert not (yard.place / "taskd.toml").exists()


def test_a_broker_that_cannot_be_watched_is_refused_by_name(make_yard: Callable[[str], Yard]) -> None:
    yard = make_yard("sqla+sqlite:///kombu.db")

    assert yard.shadow("1h", "--output", "taskd.toml").wait(60) == exit_codes.FAILURE
    said = yard.read("taskctl.err")
    assert "a message of this broker cannot be seen without being taken" in said
    assert "taskctl events" in said
    assert not (yard.place / "taskd.toml").exists()


def test_a_duration_that_is_none_is_refused(make_yard: Callable[[str], Yard]) -> None:
    yard = make_yard("redis://localhost/0")

    assert yard.shadow("soon").wait(60) == exit_codes.USAGE
    assert "soon" in yard.read("taskctl.err")
