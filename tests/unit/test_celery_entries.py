"""The periodic entries of a Celery app are taken over as its own beat would send them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from celery.beat import BeatLazyFunc, ScheduleEntry, Scheduler
from celery.schedules import BaseSchedule, crontab, schedule, solar
from kombu.entity import Exchange, Queue
from kombu.utils.json import loads

from taskd.beat.messages import beat_message
from taskd.beat.schedules.build import schedule_of
from taskd.config.schedule import BeatEntryConfig
from taskd.execution.celery.schedule.declared import DeclaredCelery
from taskd.execution.opening import read_app

# Celery deprecates the option ``queue`` of a task, which many apps have.
pytestmark = pytest.mark.filterwarnings("ignore::celery.exceptions.CDeprecationWarning")


class Published(Scheduler):  # type: ignore[misc]
    """Celery's own beat, whose messages stay here."""

    def __init__(self, app: Celery) -> None:
        super().__init__(app, schedule={})
        self.headers: dict[str, Any] = {}
        self.body: Any = None
        self.properties: dict[str, Any] = {}
        self.queue = ""

    def publish(self, name: str) -> None:
        def keep(body: object, **given: Any) -> None:
            self.body = json.loads(json.dumps(body))
            self.headers = given["headers"]
            self.queue = given["routing_key"]
            self.properties = given

        producer = self.app.amqp.Producer(self.app.connection_for_write())
        producer.publish = keep
        self.apply_async(self.schedule[name], producer=producer, advance=False)


def app_with(beat_schedule: Mapping[str, object] | None = None, **settings: object) -> Celery:
    app = Celery("proj", broker="memory://", backend="cache+memory://")
    app.conf.update(beat_schedule=dict(beat_schedule or {}), **settings)

    @app.task(name="proj.add", shared=False)  # type: ignore[untyped-decorator]
    def add(a: int, b: int) -> int:
        return a + b

    @app.task(name="proj.own", shared=False, queue="mine", priority=7, expires=100, time_limit=9)  # type: ignore[untyped-decorator]
    def own() -> None: ...

    return app


def entries_of(app: Celery) -> Mapping[str, BeatEntryConfig]:
    return DeclaredCelery(app).entries().entries


def only(app: Celery) -> BeatEntryConfig:
    (entry,) = entries_of(app).values()
    return entry


JOBS: Mapping[str, Mapping[str, object]] = {
    "plain": {"task": "proj.add", "schedule": 30, "args": (1, 2)},
    "of the task": {"task": "proj.own", "schedule": crontab(minute="5")},
    "against the task": {
        "task": "proj.own",
        "schedule": timedelta(minutes=1),
        "options": {"queue": "other", "priority": 1, "expires": 5, "time_limit": 3, "soft_time_limit": 2},
    },
    "routed": {"task": "proj.routed.one", "schedule": 30, "kwargs": {"a": None}},
    "nobody's": {"task": "elsewhere.task", "schedule": 30, "options": {"headers": {"tenant": "a"}}},
    "by exchange": {
        "task": "proj.add",
        "schedule": 30,
        "args": (1, 2),
        "options": {"exchange": "media", "routing_key": "video"},
    },
    "without a result": {
        "task": "proj.add",
        "schedule": 30,
        "args": (1, 2),
        "options": {"ignore_result": True, "shadow": "s"},
    },
}


@pytest.mark.parametrize("name", JOBS)
def test_a_run_is_sent_as_celery_sends_it(name: str) -> None:
    app = app_with(
        {name: JOBS[name]},
        task_routes={"proj.routed.*": {"queue": "slow", "priority": 4}},
        task_default_queue="standard",
        task_queues=[
            Queue("standard"),
            *(Queue(each) for each in ("mine", "other", "slow")),
            Queue("films", Exchange("media"), routing_key="video"),
        ],
    )
    theirs = Published(app)
    theirs.publish(name)

    ours = beat_message(entries_of(app)[name], 1_000_000.0, "id")

    headers = json.loads(ours.headers)
    assert json.loads(ours.body)[:2] == theirs.body[:2]
    assert ours.priority == (theirs.properties.get("priority") or 0)
    for header in ("task", "timelimit", "shadow", "tenant", "kwargsrepr"):
        assert headers.get(header) == theirs.headers.get(header), header
    # Older releases of Celery do not mark what beat sends.
    assert headers["celery_beat_task"] == theirs.headers.get("celery_beat_task", True)
    assert bool(headers["ignore_result"]) == bool(theirs.headers["ignore_result"])
    assert (headers["expires"] is None) == (theirs.headers["expires"] is None)
    if name == "by exchange":  # straight to the one queue that the exchange leads to
        assert (theirs.properties["exchange"], theirs.queue) == ("media", "video")
        assert ours.routing_key == "films"
    else:
        assert ours.routing_key == theirs.queue


def test_an_expiry_counts_from_the_run_and_a_moment_ends_the_entry() -> None:
    until = datetime(2030, 1, 1, tzinfo=timezone.utc)
    app = app_with(
        {
            "seconds": {"task": "proj.add", "schedule": 30, "options": {"expires": timedelta(minutes=2)}},
            "moment": {"task": "proj.add", "schedule": 30, "options": {"expires": until}},
        }
    )

    found = entries_of(app)

    assert found["seconds"].expires == 120.0
    ending = schedule_of(found["moment"])
    assert ending.next_after(until.timestamp() - 31) <= until.timestamp()
    assert ending.next_after(until.timestamp()) == float("inf")


def test_dates_and_uuids_reach_the_task_as_celery_writes_them() -> None:
    given = [datetime(2026, 1, 1, tzinfo=timezone.utc), UUID(int=7)]
    app = app_with({"job": {"task": "proj.add", "schedule": 30, "args": given}})
    theirs = Published(app)

    ours = beat_message(only(app), 0.0, "id")

    args, _kwargs, _embed = loads(ours.body.decode())
    assert args == theirs.app.conf.beat_schedule["job"]["args"]


def test_entries_come_from_dicts_objects_and_receivers() -> None:
    app = app_with(
        {
            "dict": {"task": "proj.add", "schedule": 30},
            "object": ScheduleEntry("object", "proj.add", schedule=timedelta(minutes=5)),
        }
    )

    @app.on_after_configure.connect  # type: ignore[untyped-decorator]
    def early(sender: Celery, **_kwargs: object) -> None:
        sender.add_periodic_task(10.0, sender.signature("proj.add", (1, 2)), name="early")

    @app.on_after_finalize.connect  # type: ignore[untyped-decorator]
    def late(sender: Celery, **_kwargs: object) -> None:
        sender.add_periodic_task(20.0, sender.tasks["proj.add"].s(3, 4), expires=60)

    found = entries_of(app)

    assert {name: entry.every for name, entry in found.items()} == {
        "dict": 30.0,
        "object": 300.0,
        "early": 10.0,
        "proj.add(3, 4)": 20.0,
    }
    assert found["proj.add(3, 4)"].expires == 60.0
    assert "proj.add" in DeclaredCelery(app).tasks()


@pytest.mark.parametrize(
    ("settings", "zone"),
    [
        ({}, "UTC"),
        ({"timezone": "Europe/Berlin"}, "Europe/Berlin"),
        ({"timezone": "America/New_York", "enable_utc": False}, "America/New_York"),
    ],
)
def test_a_crontab_is_read_in_the_zone_of_the_app(settings: dict[str, object], zone: str) -> None:
    app = app_with({"nightly": {"task": "proj.add", "schedule": crontab(minute=0, hour=3)}}, **settings)

    assert only(app).timezone == zone


def test_without_utc_and_a_zone_the_machines_zone_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    app = app_with({"nightly": {"task": "proj.add", "schedule": crontab(hour=3)}}, enable_utc=False)

    assert only(app).timezone == "Asia/Tokyo"


class Moody(BaseSchedule):  # type: ignore[misc]
    """Decides by itself."""

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        return False, 5.0


class Moodier(schedule):  # type: ignore[misc]
    """Decides by itself, on top of an interval."""

    def is_due(self, last_run_at: datetime) -> tuple[bool, float]:
        return False, 5.0


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"task": "proj.add"}, "it has no schedule"),
        ({"schedule": 30}, "it has no task"),
        (30, "it is of type int"),
        ({"task": "proj.add", "schedule": "daily"}, 'the schedule is the text "daily"'),
        ({"task": "proj.add", "schedule": Moody()}, "Moody decides by itself when it is due"),
        ({"task": "proj.add", "schedule": Moodier(30)}, "Moodier decides by itself when it is due"),
        ({"task": "proj.add", "schedule": crontab(nowfun=datetime.now)}, "nowfun"),
        ({"task": "proj.add", "schedule": 30, "args": (BeatLazyFunc(int),)}, "made anew at each send"),
        ({"task": "proj.add", "schedule": 30, "args": (object(),)}, "args cannot be written as JSON"),
        ({"task": "proj.add", "schedule": 30, "options": {"countdown": 5}}, "beat does not send countdown"),
        ({"task": "proj.add", "schedule": 30, "options": {"serializer": "pickle"}}, 'expected "json"'),
        (
            {"task": "proj.add", "schedule": 30, "options": {"exchange": "none", "routing_key": "x"}},
            "leads to no queue of task_queues",
        ),
        ({"task": "proj.add", "schedule": 30, "options": {"queue": "all"}}, "is a broadcast"),
    ],
)
def test_an_entry_that_beat_cannot_send_is_named_with_the_way_to_go_and_the_others_fire(
    entry: object, why: str
) -> None:
    app = app_with(
        {"odd one": entry, "sound": {"task": "proj.add", "schedule": 30}},
        accept_content=["pickle"] if why == 'expected "json"' else ["json"],
        task_serializer="json",
        task_queues=[Queue("celery"), Queue("all", Exchange("all", type="fanout"))],
    )
    if why == 'expected "json"':
        del app.conf.beat_schedule["sound"]

    reading = DeclaredCelery(app).entries()

    assert "odd one" not in reading.entries
    assert ("sound" in reading.entries) == (why != 'expected "json"')
    (problem,) = reading.problems
    assert problem.startswith('entry "odd one" of beat_schedule does not fire: ')
    assert why in problem
    assert "`celery beat` as a [program]" in problem


def test_results_that_do_not_expire_by_themselves_are_cleaned_up_as_in_celery() -> None:
    app = app_with()
    app.conf.result_backend = "db+sqlite:///:memory:"

    entry = only(app)

    assert (entry.name, entry.task, entry.cron) == ("celery.backend_cleanup",) * 2 + ("0 4 * * *",)
    assert entry.expires == 12 * 3600


def test_the_sun_is_the_same() -> None:
    app = app_with({"evening": {"task": "proj.add", "schedule": solar("sunset", 52.5, 13.4)}})

    entry = only(app)

    assert (entry.solar, entry.latitude, entry.longitude) == ("sunset", 52.5, 13.4)


their_app = Celery("theirs", set_as_current=False)


def test_beat_finds_an_app_of_celery_as_any_other() -> None:
    assert "celery.backend_cleanup" in read_app("tests.unit.test_celery_entries:their_app").tasks()
