"""The tables of django_celery_beat as beat reads them: by a process of the application, while it works."""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from taskd.base import clock
from taskd.base.lifecycle import Deadline
from taskd.beat.schedules.build import schedule_of
from tests.component.follower import Follower
from tests.django_project import DjangoProject

EVERY_MINUTE = 'IntervalSchedule.objects.get_or_create(every=60, period="seconds")[0]'


Project = Callable[..., DjangoProject]
Follow = Callable[..., Follower]


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.getbasetemp() / "migrated.sqlite3"


@pytest.fixture
def make_project(tmp_path: Path, migrated: Path) -> Iterator[Project]:
    made: list[DjangoProject] = []

    def make(*, is_migrated: bool = True, **parts: str) -> DjangoProject:
        made.append(DjangoProject(tmp_path / "project", **parts))
        if is_migrated:
            made[-1].migrate(migrated)
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def follow() -> Iterator[Follow]:
    made: list[Follower] = []

    def make(project: DjangoProject, scheduler: str = "", more: Mapping[str, str] | None = None) -> Follower:
        made.append(Follower(project.directory, "proj", scheduler, more))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_rows_are_read_and_changes_are_seen(make_project: Project, follow: Follow) -> None:
    project = make_project()
    project.orm(f"""
        PeriodicTask.objects.create(
            name="every minute, always", task="proj.note", interval={EVERY_MINUTE},
            args='["/tmp/x", "a"]', kwargs='{{"k": 1}}', queue="slow", priority=3, expire_seconds=20,
            headers='{{"tenant": "n"}}')
        PeriodicTask.objects.create(name="off", task="proj.note", interval={EVERY_MINUTE}, enabled=False)
    """)
    beat = follow(project)
    beat.until(lambda: beat.told)

    (entry,) = beat.last.entries.values()
    assert (entry.name, entry.task, entry.every) == ("every minute, always", "proj.note", 60.0)
    assert (entry.args, entry.kwargs) == (("/tmp/x", "a"), {"k": 1})
    assert (entry.queue, entry.priority, entry.expires) == ("slow", 3, 20.0)
    assert entry.headers == {"tenant": "n", "periodic_task_name": "every minute, always"}
    assert {"proj.note", "celery.backend_cleanup"} <= beat.last.tasks

    project.orm('o = PeriodicTask.objects.get(name="off"); o.enabled = True; o.save()')
    beat.until(lambda: len(beat.last.entries) == 2)
    project.orm('PeriodicTask.objects.get(name="off").delete()')
    beat.until(lambda: len(beat.last.entries) == 1)
    project.orm(
        "i = IntervalSchedule.objects.get(every=60); i.every = 90; i.save()\nPeriodicTasks.update_changed()"
    )
    beat.until(lambda: beat.last.entries["every minute, always"].every == 90.0)


ROWS = """
berlin = CrontabSchedule.objects.create(minute="30", hour="2", timezone="America/New_York")
weekly = CrontabSchedule.objects.create(minute="*/7", hour="9-17", day_of_week="mon,fri", timezone="UTC")
minutes = IntervalSchedule.objects.create(every=5, period="minutes")
evening = SolarSchedule.objects.create(event="sunset", latitude="52.5", longitude="13.4")
last = datetime(2026, 3, 5, 12, 0, 1, tzinfo=timezone.utc)
clock = ClockedSchedule.objects.create(clocked_time=last + timedelta(days=9))
for name, keys in {
    "cron": {"crontab": berlin}, "weekly": {"crontab": weekly}, "sun": {"solar": evening},
    "once": {"crontab": weekly, "one_off": True},
    "later": {"interval": minutes, "start_time": last + timedelta(days=20, seconds=7)},
    "later once": {"interval": minutes, "one_off": True, "start_time": last + timedelta(days=20, seconds=7)},
    "interval once": {"interval": minutes, "one_off": True},
    "clock": {"clocked": clock, "one_off": True},
}.items():
    PeriodicTask.objects.create(name=name, task="proj.note", **keys)
PeriodicTask.objects.exclude(start_time__isnull=False).update(last_run_at=last)
PeriodicTasks.update_changed()
"""
#: When Celery's own objects say that each row runs first after its last run.
JUDGE = """
from unittest.mock import patch
from django_celery_beat import schedulers
def due_at(model):
    entry = schedulers.ModelEntry(model, app=proj.celery.app)
    last = datetime(2026, 3, 5, 12, 0, 1, tzinfo=timezone.utc)
    if model.start_time:
        return model.start_time  # "trigger the job to run at start_time"
    entry.schedule.nowfun = lambda: last
    return last + entry.schedule.remaining_estimate(last)
answer = {each.name: due_at(each).timestamp() for each in PeriodicTask.objects.all()}
"""


def test_a_row_runs_when_celery_runs_it(make_project: Project, follow: Follow) -> None:
    project = make_project()
    project.orm(ROWS)
    expected = project.orm(JUDGE)
    beat = follow(project)
    beat.until(lambda: beat.told)

    for name, at in expected.items():
        found = schedule_of(beat.last.entries[name]).next_after(beat.last.since[name])
        # Intervals stand on a grid of the epoch, the sun's equations differ by seconds.
        assert found == pytest.approx(at, abs=60 if name == "sun" else 1.0), name
    again = schedule_of(beat.last.entries["later"])
    assert again.next_after(expected["later"]) == pytest.approx(expected["later"] + 300)
    for name in ("once", "later once", "interval once", "clock"):
        once = schedule_of(beat.last.entries[name])
        assert once.next_after(once.next_after(beat.last.since[name])) == float("inf")


def test_a_run_is_noted_in_its_row_as_celery_notes_it(make_project: Project, follow: Follow) -> None:
    project = make_project()
    project.orm(f"""
        soon = ClockedSchedule.objects.create(clocked_time=datetime.now(timezone.utc))
        for name, keys in {{"often": {{}}, "once": {{"one_off": True}}}}.items():
            PeriodicTask.objects.create(name=name, task="proj.note", interval={EVERY_MINUTE}, **keys)
        PeriodicTask.objects.create(name="clock", task="proj.note", clocked=soon, one_off=True)
        PeriodicTask.objects.create(
            name="over", task="proj.note", interval={EVERY_MINUTE}, expires=datetime.now(timezone.utc))
    """)
    beat = follow(project)
    beat.until(lambda: beat.told)
    assert beat.last.entries.keys() == {"often", "once", "clock"}

    beat.source.ran(["often", "once", "clock"])
    beat.source.ran(["often", "nobody's"])
    beat.until(lambda: beat.last.entries.keys() == {"often"})

    beat.until(lambda: project.orm('answer = PeriodicTask.objects.get(name="often").total_run_count') == 2)

    rows = project.orm("""
        answer = {each.name: [each.enabled, each.total_run_count, each.last_run_at is not None]
                  for each in PeriodicTask.objects.all()}
    """)
    assert rows["often"] == [True, 2, True]
    assert rows["once"] == rows["clock"] == [False, 0, False]  # and so it can be used again
    assert rows["over"][0] is False


def test_a_row_that_cannot_be_sent_is_named_and_the_others_go_on(
    make_project: Project, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project()
    project.orm(f"""
        every = {EVERY_MINUTE}
        for name, keys in {{
            "text": {{"args": "[1,"}}, "list": {{"args": "{{}}"}}, "names": {{"kwargs": "7"}},
            "heads": {{"headers": "nonsense"}}, "nowhere": {{"exchange": "none", "routing_key": "x"}},
        }}.items():
            PeriodicTask.objects.create(name=name, task="proj.note", interval=every, **keys)
        broken = CrontabSchedule.objects.create(minute="61")
        PeriodicTask.objects.create(name="cron", task="proj.note", crontab=broken)
        PeriodicTask.objects.create(name="sound", task="proj.gone", interval=every)
        PeriodicTask.objects.bulk_create([PeriodicTask(name="bare", task="proj.note")])
    """)
    beat = follow(project)
    beat.until(lambda: beat.told)

    assert beat.last.entries.keys() == {"sound"}  # whose task is beat's to warn of
    said = caplog.text
    for name, why in {
        "text": "args is not JSON",
        "list": "args is {}; expected a JSON list",
        "names": "kwargs is 7; expected a JSON object",
        "heads": "headers is not JSON",
        "nowhere": 'the exchange "none" with the routing key "x" leads to no queue of task_queues',
        "cron": 'its schedule cannot be read: minute = "61": ValueError: Invalid end range: 61',
        "bare": "its schedule cannot be read",
    }.items():
        problem = f'row "{name}" of django_celery_beat_periodictask does not fire: {why}'
        assert problem in said
        assert any(problem in each for each in beat.last.problems), beat.last.problems
    enabled = project.orm("answer = PeriodicTask.objects.filter(enabled=True).count()")
    assert enabled == 8  # none of them is disabled behind the user's back

    caplog.clear()
    project.orm('o = PeriodicTask.objects.get(name="text"); o.args = "[1]"; o.save()')
    beat.until(lambda: "text" in beat.last.entries)
    assert "does not fire" not in caplog.text  # said once
    assert not any('row "text"' in each for each in beat.last.problems)


def test_tables_that_are_missing_are_an_error_with_the_remedy_until_they_are_there(
    make_project: Project, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(is_migrated=False)
    beat = follow(project)
    with caplog.at_level(logging.INFO):
        beat.until(lambda: "run `manage.py migrate django_celery_beat`" in caplog.text)
        project.migrate()
        beat.until(lambda: beat.told)

    assert "no such table" in caplog.text
    assert "the schedule of app proj is read again" in caplog.text


def test_a_database_that_was_away_is_read_again_and_its_runs_are_noted(
    make_project: Project, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(settings='DATABASES["default"]["OPTIONS"]["timeout"] = 0.1')
    project.orm(f'PeriodicTask.objects.create(name="job", task="proj.note", interval={EVERY_MINUTE})')
    beat = follow(project)
    beat.until(lambda: beat.told)

    with caplog.at_level(logging.INFO):
        project.orm("from django.db import connection; connection.cursor().execute('BEGIN EXCLUSIVE')")
        beat.source.ran(["job"])
        beat.until(lambda: "is the database of Django's settings up?" in caplog.text)
        project.orm("connection.cursor().execute('COMMIT')")
        beat.until(lambda: "is read again" in caplog.text)

    assert beat.last.entries.keys() == {"job"}
    beat.until(lambda: project.orm("answer = PeriodicTask.objects.get().total_run_count") == 1)


def test_a_process_that_dies_is_started_again_and_is_told_what_it_missed(
    make_project: Project, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    project = make_project(app='open("pid", "w").write(str(os.getpid()))\n')
    project.orm(f'PeriodicTask.objects.create(name="job", task="proj.note", interval={EVERY_MINUTE})')
    beat = follow(project)
    beat.until(lambda: beat.told)

    os.kill(int((project.directory / "pid").read_text()), signal.SIGKILL)
    beat.until(lambda: "its process ended with status -9" in caplog.text)
    beat.source.ran(["job"])
    beat.until(lambda: len(beat.told) == 2)

    beat.until(lambda: project.orm("answer = PeriodicTask.objects.get().total_run_count") == 1)


def test_the_last_runs_before_the_end_of_beat_are_noted_also_after_a_ctrl_c(
    make_project: Project, follow: Follow
) -> None:
    project = make_project(app='open("pid", "w").write(str(os.getpid()))\n')
    project.orm(f'PeriodicTask.objects.create(name="job", task="proj.note", interval={EVERY_MINUTE})')
    beat = follow(project)
    beat.until(lambda: beat.told)

    os.kill(int((project.directory / "pid").read_text()), signal.SIGINT)
    beat.source.ran(["job"] * 5)
    beat.source.stop(Deadline.after(0.0))

    assert project.orm("answer = PeriodicTask.objects.get().total_run_count") == 5


def test_of_two_workers_with_one_app_one_notes_a_run(make_project: Project, follow: Follow) -> None:
    project = make_project()
    project.orm(f'PeriodicTask.objects.create(name="job", task="proj.note", interval={EVERY_MINUTE})')
    beat = follow(project, more={"WORKER": "2"})
    beat.until(lambda: len(beat.told) >= 2 and beat.last.tasks)

    beat.source.ran(["job"])
    beat.source.stop(Deadline.after(0.0))

    assert project.orm("answer = PeriodicTask.objects.get().total_run_count") == 1


OWN_SCHEDULER = """
import os
from celery import schedules
from django_celery_beat import schedulers


class Flag(schedules.BaseSchedule):
    def is_due(self, last_run_at):
        return schedules.schedstate(os.path.exists("flag"), 0.1)

    def remaining_estimate(self, last_run_at):
        return None


class Entry(schedulers.ModelEntry):
    def __init__(self, model, app=None):
        super().__init__(model, app=app)
        if model.name.startswith("flag"):
            self.schedule = Flag(app=self.app)

    def is_due(self):
        state = super().is_due()
        if self.model.name == "flag that fails":
            raise RuntimeError("no idea")
        return state


class Scheduler(schedulers.DatabaseScheduler):
    Entry = Entry
"""


def test_a_scheduler_of_the_applications_own_is_asked_when_its_rows_are_due(
    make_project: Project, follow: Follow, capfd: pytest.CaptureFixture[str]
) -> None:
    project = make_project()
    (project.directory / "proj" / "own.py").write_text(OWN_SCHEDULER)
    for name in ("flag", "flag that fails"):
        project.orm(f'PeriodicTask.objects.create(name="{name}", task="proj.note", interval={EVERY_MINUTE})')
    beat = follow(project, "proj.own:Scheduler")
    beat.until(lambda: beat.told)
    assert beat.last.entries == {}

    (project.directory / "flag").touch()
    beat.until(lambda: beat.last.entries)
    first = beat.last.entries["flag"]
    assert schedule_of(first).next_after(beat.last.since["flag"]) == pytest.approx(clock.now(), abs=30)
    beat.source.ran(["flag"])
    beat.until(lambda: beat.last.entries.get("flag") not in (None, first))

    assert project.orm('answer = PeriodicTask.objects.get(name="flag").total_run_count') == 1
    assert 'entry "flag that fails": its is_due failed' in capfd.readouterr().err


def test_what_the_code_declares_is_in_the_tables_as_with_celerys_beat(
    make_project: Project, follow: Follow
) -> None:
    project = make_project(
        settings='CELERY_BEAT_SCHEDULE = {"nightly": {"task": "proj.note", "schedule": 30.0}}\n'
        "CELERY_RESULT_EXPIRES = 3600\n"
    )
    beat = follow(project)
    beat.until(lambda: beat.told)

    assert beat.last.entries.keys() == {"nightly", "celery.backend_cleanup"}
    assert project.orm('answer = PeriodicTask.objects.get(name="nightly").interval.every') == 30


def test_a_scheduler_that_beat_cannot_stand_for_is_named_and_the_codes_entries_fire(
    make_project: Project, follow: Follow, capfd: pytest.CaptureFixture[str]
) -> None:
    project = make_project(
        settings='CELERY_BEAT_SCHEDULE = {"nightly": {"task": "proj.note", "schedule": 30.0}}\n'
    )
    other = "from celery.beat import PersistentScheduler\nclass Scheduler(PersistentScheduler): ...\n"
    (project.directory / "proj" / "other.py").write_text(other)
    beat = follow(project, "proj.other:Scheduler")
    beat.until(lambda: beat.told)

    assert beat.last.entries.keys() == {"nightly"}
    err = capfd.readouterr().err
    assert "proj.other.Scheduler is a scheduler of its own, which beat cannot run" in err
    assert "`celery beat` as a [program]" in err


def test_a_scheduler_that_cannot_be_imported_is_named_with_its_key(
    make_project: Project, follow: Follow, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    beat = follow(make_project(), "proj.gone:Scheduler")

    beat.until(lambda: "the entries of app proj are not known" in caplog.text)

    assert '[beat] scheduler "proj.gone:Scheduler" cannot be imported' in capfd.readouterr().err
