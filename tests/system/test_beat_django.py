"""A Django application with django_celery_beat under a real daemon: rows fire as tasks, each run once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.django_project import DjangoProject
from tests.system.daemon import Daemon
from tests.waiting import wait_until

HEAD = """
app = "proj"
broker = "sqlite://broker.db"
results = "null://"
[supervisor]
control_socket = "taskd.sock"
state_directory = "."
[beat]
run = "always"
store = "sqlite://beat.db"
history = 10000
[worker.main]
queues = ["celery"]
pool = "threads"
concurrency = 2
directory = "{directory}"
"""
SETTINGS = (
    'CELERY_BEAT_SCHEDULE = {"declared": {"task": "proj.note", "schedule": 3600.0, "args": ["x", "y"]}}\n'
)
OFTEN = """
often = IntervalSchedule.objects.get_or_create(every=200_000, period="microseconds")[0]
PeriodicTask.objects.create(
    name="{name}", task="proj.note", interval=often, args='["{notes}", "{name}"]', **{keys})
"""


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    return tmp_path / "notes"


@pytest.fixture
def project(tmp_path: Path) -> Iterator[DjangoProject]:
    made = DjangoProject(tmp_path / "project", settings=SETTINGS)
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def daemon(project: DjangoProject, make_daemon: Callable[..., Daemon]) -> Daemon:
    made = make_daemon("", head=HEAD.format(directory=project.directory))
    made.start(timeout_s=60.0)
    return made


def runs(notes: Path) -> Counter[str]:
    return Counter(notes.read_text().split()) if notes.exists() else Counter()


def add(project: DjangoProject, notes: Path, name: str, **keys: object) -> None:
    project.orm(OFTEN.format(name=name, notes=notes, keys=keys))


def test_rows_fire_from_the_moment_they_are_there_until_they_are_off(
    daemon: Daemon, project: DjangoProject, notes: Path
) -> None:
    wait_until(lambda: "declared" in daemon.ctl("beat", "list").stdout, 30)
    add(project, notes, "often")
    add(project, notes, "once", one_off=True)
    wait_until(lambda: runs(notes)["often"] >= 5)
    wait_until(lambda: project.orm('answer = PeriodicTask.objects.get(name="often").total_run_count') >= 5)
    wait_until(lambda: not project.orm('answer = PeriodicTask.objects.get(name="once").enabled'))

    project.orm('row = PeriodicTask.objects.get(name="often"); row.enabled = False; row.save()')
    add(project, notes, "other")

    def is_silent() -> bool:
        before = runs(notes)
        wait_until(lambda: runs(notes)["other"] >= before["other"] + 10)
        return runs(notes)["often"] == before["often"]

    wait_until(is_silent)
    assert runs(notes)["once"] == 1
    rows = {each["name"]: each for each in json.loads(daemon.ctl("beat", "list", "--json").stdout)["entries"]}
    assert rows.keys() == {"declared", "other"}
    assert rows["other"]["source"] == "app"
    assert daemon.stop() == 0


def test_a_beat_that_is_killed_runs_each_occurrence_of_a_row_once(
    daemon: Daemon, project: DjangoProject, notes: Path
) -> None:
    add(project, notes, "often")
    for _ in range(3):
        before = runs(notes)["often"]
        wait_until(lambda: runs(notes)["often"] >= before + 5)  # noqa: B023 - awaited here
        pid = daemon.pid_of("beat")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: daemon.row("beat")["pid"] not in {None, pid})  # noqa: B023 - awaited here
        daemon.wait_ready(60.0)
    before = runs(notes)["often"]
    wait_until(lambda: runs(notes)["often"] >= before + 5)
    daemon.ctl("beat", "pause", "often")

    def decided() -> list[dict[str, object]]:
        told = daemon.ctl("beat", "history", "often", "--limit", "10000", "--json").stdout
        return [each for each in json.loads(told)["decisions"] if str(each["outcome"]).endswith("sent")]

    wait_until(lambda: runs(notes)["often"] >= len(decided()))
    assert runs(notes)["often"] == len(decided()), "each that was sent ran once"
    dues = [each["due_at"] for each in decided()]
    assert len(dues) == len(set(dues)), "each occurrence is sent once"
