"""Celery's schedule objects keep their meaning; Celery itself is the judge."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

import celery
import pytest
from celery import Celery, schedules
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from taskd.app.app import App
from taskd.app.from_celery import when_of
from taskd.base.errors import ConfigError
from taskd.beat.schedules.build import schedule_of
from taskd.beat.schedules.zones import changes_between, overlap_around, wall_clock
from taskd.config.schedule import WhenConfig

THE_JUDGE_IS_RIGHT = pytest.mark.skipif(
    celery.VERSION < (5, 7), reason="Celery itself errs here before 5.7: on changes of the clock, on the sun"
)

ZONES = ("UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Sao_Paulo")
# 2001 to 2037.
moments = st.integers(1_000_000_000 // 60, 2_114_000_000 // 60).map(lambda minute: minute * 60)


def field(low: int, high: int) -> st.SearchStrategy[str | set[int]]:
    """Return what people give a field of crontab: a star, steps, a range (also around the end), numbers."""
    number = st.integers(low, high)
    return st.one_of(
        st.just("*"),
        st.integers(2, high).map(lambda step: f"*/{step}"),
        st.tuples(number, number).map(lambda pair: f"{pair[0]}-{pair[1]}"),
        st.sets(number, min_size=1, max_size=5),
    )


crontabs = st.fixed_dictionaries(
    {
        "minute": field(0, 59),
        "hour": field(0, 23),
        "day_of_month": field(1, 28),
        "month_of_year": field(1, 12),
        "day_of_week": field(0, 6),
    }
)


#: Every day, so that those who look at the night of a change find something there.
daily_crontabs = st.fixed_dictionaries({"minute": field(0, 59), "hour": st.one_of(st.just("*"), field(0, 4))})


def celery_app(zone: str) -> Celery:
    app = Celery(set_as_current=False)
    app.conf.timezone = zone
    return app


def celery_next(make: type, at: float, zone: str, **fields: object) -> float:
    """Return when Celery runs an entry next whose last run was at ``at``."""
    now = datetime.fromtimestamp(at, ZoneInfo(zone))
    judge = make(**fields, app=celery_app(zone), nowfun=lambda: now)
    return at + float(judge.remaining_estimate(now).total_seconds())


@lru_cache(maxsize=8)
def changes_of(zone: str) -> list[int]:
    start, end = (datetime(year, 1, 1, tzinfo=timezone.utc).timestamp() for year in (2007, 2015))
    return [int(change.change_at) for change in changes_between(start, end, ZoneInfo(zone))]


@THE_JUDGE_IS_RIGHT
@given(fields=st.one_of(crontabs, daily_crontabs), zone=st.sampled_from(ZONES), data=st.data())
@settings(max_examples=500, deadline=None)
def test_a_crontab_fires_when_celery_fires_it(
    fields: dict[str, str | set[int]], zone: str, data: st.DataObject
) -> None:
    info = ZoneInfo(zone)
    at = data.draw(moments)
    at_a_change: bool = data.draw(st.booleans())
    if at_a_change and (changes := changes_of(zone)):
        at = data.draw(st.sampled_from(changes)) + 60 * data.draw(st.integers(-150, 90))
    change = overlap_around(at, info)
    # Celery started in a second pass goes on in it; one that ran through the first does not see it.
    assume(change is None or at < change.change_at)
    when = when_of(schedules.crontab(**fields, app=celery_app(zone)))
    expected = celery_next(schedules.crontab, at, zone, **fields)

    found = schedule_of(when).next_after(float(at))

    if found != expected:
        # Only where the clock leaves a time out: ours fires when the gap ends, Celery later, by its length
        # at most.
        gap = next(change for change in changes_between(at, expected, info) if change.change_at == found)
        assert gap.is_gap
        assert expected - found < gap.offset_after_s - gap.offset_before_s


@given(fields=crontabs, zone=st.sampled_from(ZONES), at=moments, ahead_s=st.integers(0, 400_000))
@settings(max_examples=200, deadline=None)
def test_a_crontab_is_due_when_celery_says_so(
    fields: dict[str, str | set[int]], zone: str, at: int, ahead_s: int
) -> None:
    info = ZoneInfo(zone)
    # Weeks around the changes are the business of the test above.
    assume(
        all(
            wall_clock(at + span, info) - wall_clock(at, info) == timedelta(seconds=span)
            for span in (-86_400, 500_000)
        )
    )
    now = datetime.fromtimestamp(at + ahead_s, info)
    judge = schedules.crontab(**fields, app=celery_app(zone), nowfun=lambda: now)

    found = schedule_of(when_of(schedules.crontab(**fields, app=celery_app(zone)))).next_after(float(at))

    assert (found <= at + ahead_s) == judge.is_due(datetime.fromtimestamp(at, info)).is_due


def test_day_and_weekday_must_both_match_as_in_celery() -> None:
    when = when_of(schedules.crontab(minute=0, hour=0, day_of_month="13", day_of_week="fri"), "UTC")

    found = schedule_of(when).next_after(datetime(2026, 1, 1, tzinfo=timezone.utc).timestamp())

    assert datetime.fromtimestamp(found, timezone.utc) == datetime(2026, 2, 13, tzinfo=timezone.utc)


@given(every_s=st.integers(1, 1_000_000), at=moments)
def test_an_interval_is_as_long_as_in_celery(every_s: int, at: int) -> None:
    schedule = schedule_of(when_of(schedules.schedule(timedelta(seconds=every_s))))

    first = schedule.next_after(float(at))

    assert schedule.next_after(first) == celery_next(
        schedules.schedule, first, "UTC", run_every=timedelta(seconds=every_s)
    )


@given(zone=st.sampled_from(ZONES), at=moments)
@settings(deadline=None)
def test_a_relative_day_ends_at_midnight_as_in_celery(zone: str, at: int) -> None:
    day = timedelta(days=1)
    when = when_of(schedules.schedule(day, relative=True, app=celery_app(zone)))

    found = schedule_of(when).next_after(float(at))

    assert found == celery_next(schedules.schedule, at, zone, run_every=day, relative=True)


SOLAR_EVENTS = sorted(schedules.solar._all_events)


@THE_JUDGE_IS_RIGHT
@given(
    event=st.sampled_from(SOLAR_EVENTS),
    latitude=st.floats(-60, 60),
    longitude=st.floats(-180, 180),
    at=st.integers(1_000_000_000, 2_114_000_000),
)
@settings(max_examples=100, deadline=None)
def test_an_event_of_the_sun_is_within_a_minute_of_celery(
    event: str, latitude: float, longitude: float, at: int
) -> None:
    pytest.importorskip("ephem", reason="Celery's solar asks ephem")
    when = when_of(schedules.solar(event, latitude, longitude))
    # Where the sun only grazes the angle a minute of arc is many minutes of time.
    assume(abs(latitude) < 45 or not event.endswith(("nautical", "astronomical")))
    judge = schedules.solar(event, latitude, longitude, app=celery_app("UTC"), nowfun=lambda: moment(at))

    found = schedule_of(when).next_after(at + 60.0)

    expected = at + judge.remaining_estimate(moment(at)).total_seconds()
    assume(expected > at + 120)
    assert found == pytest.approx(expected, abs=60)


def test_ours_stays_ours_and_a_number_is_an_interval_of_seconds() -> None:
    when = WhenConfig(every=5.0)

    assert when_of(when) is when
    assert when_of(5) == when_of(5.0) == when_of(timedelta(seconds=5)) == when


@pytest.mark.parametrize("wrong", [None, True, "0 3 * * *", object()])
def test_anything_else_is_refused_with_what_is_expected(wrong: object) -> None:
    with pytest.raises(ConfigError, match="expected every"):
        when_of(wrong)


def test_a_schedule_with_a_clock_of_its_own_is_refused() -> None:
    with pytest.raises(ConfigError, match="nowfun"):
        when_of(schedules.crontab(nowfun=lambda: moment(0)))


def moment(at: float) -> datetime:
    return datetime.fromtimestamp(at, timezone.utc)


def test_a_task_of_celery_is_refused_by_name_in_every_form_that_would_lose_its_retries() -> None:
    celery = Celery("theirs", set_as_current=False)

    @celery.task(name="theirs.bound", bind=True)  # type: ignore[untyped-decorator]
    def bound(self: Any) -> None:
        raise self.retry()

    @celery.task(name="theirs.again", autoretry_for=(OSError,))  # type: ignore[untyped-decorator]
    def again() -> None:
        raise OSError

    @celery.task(name="theirs.plain")  # type: ignore[untyped-decorator]
    def plain() -> int:
        return 1

    for task, name in ((bound, "bound"), (again, "again"), (plain, "plain")):
        with pytest.raises(TypeError, match=f"theirs.{name} is a task of Celery"):
            App().task(name="ours")(task)
    for run, name in ((bound.run, "bound"), (again.run, "again")):
        with pytest.raises(TypeError, match=f"theirs.{name} is a task of Celery"):
            App().task(name="ours")(run)
    assert App().task(name="ours")(plain.run)() == 1
