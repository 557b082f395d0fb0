"""Periodic tasks that an app's code declares: checked where they are written, and known to the app."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timedelta, timezone

import pytest
from celery.schedules import crontab

from taskd import App, TaskdError, at, cron, every, solar
from taskd.app.periodic import EntryOptions
from taskd.base.errors import ConfigError
from taskd.config.schedule import BeatEntryConfig, WhenConfig


def test_a_task_is_periodic_by_a_decorator() -> None:
    app = App(broker="memory://")

    @app.periodic(cron("0 3 * * *", zone="Europe/Berlin"), "yesterday", kwargs={"copies": 2}, expires="2h")
    @app.task(name="shop.report", queue="slow", priority=3)
    def report(day: str, copies: int = 1) -> None: ...

    entry = app.entries["shop-report"]
    assert (entry.task, entry.cron, entry.timezone) == ("shop.report", "0 3 * * *", "Europe/Berlin")
    assert (entry.args, entry.kwargs, entry.expires) == (("yesterday",), {"copies": 2}, 7200.0)
    assert (entry.queue, entry.priority) == ("slow", 3)
    assert report.name == "shop.report"  # it is the task still


def test_options_of_the_entry_go_before_those_of_the_task() -> None:
    app = App(broker="memory://")

    @app.periodic(every("5m"), queue="quick", entry="pulse")
    @app.task(name="shop.pulse", queue="slow")
    def pulse() -> None: ...

    assert app.entries["pulse"].queue == "quick"


def test_the_options_of_an_entry_are_the_keys_of_the_file() -> None:
    own = {each.name for each in fields(BeatEntryConfig)} - {each.name for each in fields(WhenConfig)}

    assert set(EntryOptions.__annotations__) == own - {"name", "task", "args"}


def test_a_task_may_have_several_entries_of_different_names() -> None:
    app = App(broker="memory://")
    app.add_periodic("soon", "shop.pulse", every(5))
    app.add_periodic("late", "shop.pulse", at("2027-01-01T03:00:00", zone="Asia/Tokyo"))

    assert list(app.entries) == ["soon", "late"]
    assert len(app.entries) == 2


def test_a_name_is_taken_once() -> None:
    app = App(broker="memory://")
    app.add_periodic("pulse", "shop.pulse", every(5))

    with pytest.raises(ConfigError, match='entry "pulse" is declared twice'):
        app.add_periodic("pulse", "shop.other", every(6))


def test_celerys_schedules_are_taken_as_they_are() -> None:
    app = App(broker="memory://")
    app.add_periodic("nightly", "shop.report", crontab(minute=0, hour=3, day_of_week="mon-fri"))

    entry = app.entries["nightly"]

    assert (entry.cron, entry.cron_days, entry.dst_overlap) == ("0 3 * * 1,2,3,4,5", "both", "first")


def test_a_task_known_by_name_lends_its_options() -> None:
    app = App(broker="memory://")

    @app.task(name="shop.pulse", queue="slow")
    def pulse() -> None: ...

    app.add_periodic("pulse", "shop.pulse", every(timedelta(minutes=1)))

    assert app.entries["pulse"].queue == "slow"
    assert app.entries["pulse"].every == 60.0


def test_moments_may_be_datetimes() -> None:
    start = datetime(2026, 5, 1, 3, tzinfo=timezone.utc)

    assert every("1h", start=start, max_runs=3).start == "2026-05-01T03:00:00+00:00"
    assert at(datetime(2026, 5, 1, 3)).at == "2026-05-01T03:00:00"  # noqa: DTZ001 - local on purpose


def test_a_sun_event_has_its_place() -> None:
    assert solar("sunset", latitude=52.5, longitude=13.4) == WhenConfig(
        solar="sunset", latitude=52.5, longitude=13.4
    )


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: cron("61 * * * *"), "column 1: minute 61 is out of range"),
        (lambda: cron("0 3 * * *", zone="Europe/Berln"), 'did you mean "Europe/Berlin"'),
        (lambda: every("5 minuts"), "every: the unit"),
        (lambda: every(0), "every: 0 is too small"),
        (lambda: every(60, jitter="2m"), "jitter: runs would overtake each other"),
        (lambda: every(60, max_runs=3), "max_runs: there is no start"),
        (lambda: at("tomorrow"), "at: "),
        (lambda: solar("sunset", latitude=91.0, longitude=0.0), "latitude: 91"),
        (lambda: App().add_periodic("x y", "t", every(1)), 'the name "x y" is not accepted'),
        (lambda: App().add_periodic("x", "t", every(1), priority=10), "priority: 10 is too large"),
        (lambda: App().add_periodic("x", "t", every(1), object()), "x.*args|args"),
        (lambda: App().add_periodic("x", "t", "0 3 * * *"), "is not a schedule; expected every"),
    ],
)
def test_a_mistake_is_named_where_it_is_written(declare: object, named: str) -> None:
    assert callable(declare)
    with pytest.raises(TaskdError, match=named):
        declare()


def test_arguments_that_the_task_does_not_take_are_refused_where_they_are_written() -> None:
    app = App()

    @app.task(name="one")
    def one(day: str) -> None: ...

    with pytest.raises(TypeError, match='task "one" does not take these arguments: too many'):
        app.add_periodic("nightly", one, every("1d"), "monday", "tuesday")
