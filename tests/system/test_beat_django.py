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
    name="{name}", interval=often, args='["{notes}", "{name}"]', **{keys})
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


def add(project: DjangoProject, notes: Path, name: str, task: str = "proj.note", **keys: object) -> None:
    project.orm(OFTEN.format(name=name, notes=notes, keys={"task": task, **keys}))


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


def test_a_run_on_request_leaves_the_row_as_it_is(
    daemon: Daemon, project: DjangoProject, notes: Path
) -> None:
    project.orm(f"""
        later = ClockedSchedule.objects.create(clocked_time=datetime.now(timezone.utc) + timedelta(days=1))
        PeriodicTask.objects.create(
            name="to morrow, once", task="proj.note", clocked=later, one_off=True, args='["{notes}", "now"]')
    """)
    wait_until(lambda: "to morrow" in daemon.ctl("beat", "list").stdout)

    daemon.ctl("beat", "run-now", "to morrow, once")
    wait_until(lambda: runs(notes)["now"])
    add(project, notes, "often")
    wait_until(lambda: project.orm('answer = PeriodicTask.objects.get(name="often").total_run_count') >= 2)

    row = 'row = PeriodicTask.objects.get(name="to morrow, once")'
    assert project.orm(f"{row}; answer = [row.enabled, row.total_run_count]") == [True, 0]


def test_a_beat_that_is_killed_runs_each_occurrence_of_a_row_once(
    daemon: Daemon, project: DjangoProject, notes: Path
) -> None:
    add(project, notes, "often", task="proj.note_id")

    def await_five_more() -> None:
        before = len(runs(notes))
        wait_until(lambda: len(runs(notes)) >= before + 5)

    for _ in range(3):
        await_five_more()
        pid = daemon.pid_of("beat")
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda: daemon.row("beat")["pid"] not in {None, pid})  # noqa: B023 - awaited here
        daemon.wait_ready(60.0)
    await_five_more()
    daemon.ctl("beat", "pause", "often")
    told = json.loads(daemon.ctl("beat", "history", "often", "--limit", "10000", "--json").stdout)
    sent = {str(each["id"]) for each in told["decisions"] if str(each["outcome"]).endswith("sent")}

    wait_until(lambda: sent <= runs(notes).keys())
    # The id of a run follows from its entry and its time.
    assert set(runs(notes).values()) == {1}, "each ran once"
