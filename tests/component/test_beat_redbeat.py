"""The keys of RedBeat as beat reads them: by a process of the application, while it works."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from celery import Celery
from celery.schedules import crontab, schedule
from redbeat import RedBeatSchedulerEntry
from redbeat.schedules import rrule
from redis import Redis

from taskd.base import clock
from taskd.beat.schedules.build import schedule_of
from tests import services
from tests.component.follower import Follower

APP = """
from celery import Celery
from celery.schedules import crontab

app = Celery("proj", broker="memory://")
app.conf.redbeat_redis_url = "{url}"
app.conf.timezone = "Europe/Berlin"
app.conf.beat_scheduler = "redbeat.RedBeatScheduler"
app.conf.beat_schedule = {{"nightly": {{"task": "proj.note", "schedule": crontab(minute=0, hour=3)}}}}

@app.task(name="proj.note")
def note(text): ...
"""


@pytest.fixture
def url() -> str:
    return services.redis_database()


@pytest.fixture
def app(url: str) -> Celery:
    made = Celery("test", broker="memory://", set_as_current=False)
    made.conf.redbeat_redis_url = url
    made.conf.timezone = "Europe/Berlin"
    return made


@pytest.fixture
def follow(tmp_path: Path, url: str) -> Iterator[Callable[[], Follower]]:
    """Make a follower of the app, which has told once."""
    made: list[Follower] = []

    def make() -> Follower:
        (tmp_path / "proj.py").write_text(APP.format(url=url))
        made.append(Follower(tmp_path, "proj"))
        made[-1].until(lambda: made[-1].told)
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def beat(follow: Callable[[], Follower]) -> Follower:
    return follow()


def add(app: Celery, name: str, timing: object, **keys: object) -> RedBeatSchedulerEntry:
    return RedBeatSchedulerEntry(name, "proj.note", timing, app=app, **keys).save()


def test_entries_are_read_and_changes_are_seen(beat: Follower, app: Celery) -> None:
    nightly = beat.last.entries["nightly"]
    assert (nightly.cron, nightly.timezone) == ("0 3 * * *", "Europe/Berlin")

    entry = add(app, "often", schedule(20.0, app=app), args=["x"], options={"queue": "slow"})
    add(app, "off", schedule(20.0, app=app), enabled=False)
    beat.until(lambda: "often" in beat.last.entries)
    often = beat.last.entries["often"]
    assert (often.every, often.args, often.queue) == (20.0, ("x",), "slow")
    assert "off" not in beat.last.entries

    add(app, "often", crontab(minute="*/5", app=app))
    beat.until(lambda: beat.last.entries["often"].cron)
    assert schedule_of(beat.last.entries["often"]).next_after(1_000_000_000.0) == 1_000_000_200.0
    entry.delete()
    beat.until(lambda: "often" not in beat.last.entries)


def test_a_run_is_noted_as_redbeat_notes_it(beat: Follower, app: Celery) -> None:
    entry = add(app, "often", schedule(20.0, app=app))
    beat.until(lambda: "often" in beat.last.entries)

    beat.source.ran(["often"])
    beat.source.ran(["often", "gone"])

    def count() -> object:
        return RedBeatSchedulerEntry.from_key(entry.key, app=app).total_run_count

    beat.until(lambda: count() == 2)
    noted = RedBeatSchedulerEntry.from_key(entry.key, app=app).last_run_at
    assert abs(noted - datetime.now(timezone.utc)) < timedelta(minutes=1)


def test_a_rule_is_asked_when_it_is_due(beat: Follower, app: Celery) -> None:
    start = datetime.now(timezone.utc) - timedelta(days=1)
    add(app, "rule", rrule("SECONDLY", dtstart=start, interval=2, app=app))

    beat.until(lambda: "rule" in beat.last.entries)
    first = beat.last.entries["rule"]
    assert schedule_of(first).next_after(beat.last.since["rule"]) == pytest.approx(clock.now(), abs=30)
    beat.source.ran(["rule"])

    beat.until(lambda: beat.last.entries.get("rule") not in (None, first))


def test_an_entry_that_cannot_be_sent_is_named_and_the_others_go_on(
    follow: Callable[[], Follower], app: Celery, url: str, caplog: pytest.LogCaptureFixture
) -> None:
    beat = follow()
    entry = add(app, "broken", schedule(20.0, app=app))
    Redis.from_url(url).hset(entry.key, "definition", "nonsense")
    add(app, "linked", schedule(20.0, app=app), options={"link": "x"})

    add(app, "sound", schedule(20.0, app=app))
    beat.until(lambda: "sound" in beat.last.entries)

    said = caplog.text
    assert f'the entry of the key "{entry.key}" does not fire: JSONDecodeError' in said
    assert "beat does not send link" in said
    assert [f'"{entry.key}"' in each for each in beat.last.problems].count(True) == 1
    assert beat.last.entries.keys() == {"nightly", "sound", "celery.backend_cleanup"}


def test_a_redis_that_is_away_is_an_error_with_the_key_of_its_address(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "proj.py").write_text(APP.format(url="redis://127.0.0.1:1/0"))
    made = Follower(tmp_path, "proj")

    with caplog.at_level(logging.ERROR):
        made.until(lambda: "look at the Redis of redbeat_redis_url" in caplog.text)

    made.close()
    assert made.told == []
