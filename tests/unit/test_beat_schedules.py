"""Schedules: when intervals and cron expressions fire, daylight saving included."""

from __future__ import annotations

from datetime import date, datetime, timedelta, timezone
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.base.errors import ConfigError
from taskd.beat.schedules.build import schedule_of
from taskd.beat.schedules.crontab import cron
from taskd.beat.schedules.interval import Interval
from taskd.config.schedule import BeatEntryConfig

BERLIN = ZoneInfo("Europe/Berlin")
# Any second of the years 2000 to 2050, fractions included.
moments = st.floats(min_value=946_684_800.0, max_value=2_524_608_000.0)
zones = st.sampled_from(["UTC", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kolkata"])


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold).timestamp()


def local_runs(expression: str, zone: ZoneInfo, start: float, end: float) -> list[str]:
    """Return the runs in [start, end) as local times with their UTC offset."""
    schedule, runs = cron(expression, str(zone)), []
    found = schedule.next_after(start - 1)
    while found < end:
        runs.append(datetime.fromtimestamp(found, zone).strftime("%H:%M%z"))
        found = schedule.next_after(found)
    return runs


@given(every_s=st.floats(min_value=0.01, max_value=1e7), moment=moments)
def test_the_next_interval_is_later_and_at_most_one_interval_away(every_s: float, moment: float) -> None:
    found = Interval(every_s).next_after(moment)

    assert moment < found <= moment + every_s * (1 + 1e-9) + 1e-6


@given(every_s=st.floats(min_value=0.01, max_value=1e6), moment=moments)
def test_intervals_never_drift(every_s: float, moment: float) -> None:
    schedule = Interval(every_s)
    first = schedule.next_after(moment)
    found = first
    for _ in range(100):
        found = schedule.next_after(found)

    # One rounding of the last multiplication is all that may be between; a sum would add up a hundred.
    assert found == pytest.approx(round(first / every_s + 100) * every_s, abs=1e-6)


@given(every_s=st.integers(min_value=1, max_value=86_400), first=moments, second=moments)
def test_an_interval_stands_on_the_same_grid_after_a_restart(
    every_s: int, first: float, second: float
) -> None:
    schedule = Interval(float(every_s))

    assert (schedule.next_after(first) - schedule.next_after(second)) % every_s == 0.0


def test_five_minutes_fire_at_round_minutes() -> None:
    assert Interval(300.0).next_after(at("2026-03-01T10:02:11")) == at("2026-03-01T10:05:00")


@pytest.mark.parametrize(
    "expression", ["*/7 * * * *", "30 2 * * *", "0 0 1 * *", "15 3 * * 1-5", "0 */5 * * *"]
)
@given(zone=zones, moment=moments)
@settings(max_examples=40)
def test_the_next_cron_run_is_strictly_later_and_a_whole_minute(
    expression: str, zone: str, moment: float
) -> None:
    found = cron(expression, zone).next_after(moment)

    assert found > moment
    assert found % 60 == 0.0


@given(zone=zones, moment=moments, minutes=st.sampled_from(["*/7", "*/20", "*"]))
@settings(max_examples=40)
def test_a_cron_of_elapsed_time_agrees_with_looking_at_every_minute(
    zone: str, moment: float, minutes: str
) -> None:
    wanted = {"*/7": range(0, 60, 7), "*/20": range(0, 60, 20), "*": range(60)}[minutes]
    info = ZoneInfo(zone)
    minute = moment // 60 * 60 + 60
    while datetime.fromtimestamp(minute, info).minute not in wanted:
        minute += 60

    assert cron(f"{minutes} * * * *", zone).next_after(moment) == minute


@given(zone=zones, day=st.dates(min_value=date(2001, 1, 1), max_value=date(2045, 1, 1)))
@settings(max_examples=100)
def test_a_job_of_fixed_time_runs_once_on_every_local_day(zone: str, day: date) -> None:
    info = ZoneInfo(zone)
    start = datetime.fromisoformat(f"{day}").replace(tzinfo=info)
    end = start + timedelta(days=1)  # in one zone this is the next midnight, however long the day is

    assert len(local_runs("30 2 * * *", info, start.timestamp(), end.timestamp())) == 1


def test_a_job_in_the_hour_skipped_in_spring_runs_right_after_the_gap() -> None:
    day, next_day = at("2026-03-29T00:00"), at("2026-03-30T00:00")

    assert local_runs("30 2 * * *", BERLIN, day, next_day) == ["03:00+0200"]


def test_a_job_in_the_hour_repeated_in_autumn_runs_once() -> None:
    day, next_day = at("2026-10-25T00:00"), at("2026-10-26T00:00")

    assert local_runs("30 2 * * *", BERLIN, day, next_day) == ["02:30+0200"]


def test_beat_started_in_the_second_pass_of_the_repeated_hour_does_not_look_back() -> None:
    started = at("2026-10-25T02:10", fold=1)

    assert cron("30 2 * * *", "Europe/Berlin").next_after(started) == at("2026-10-26T02:30")


def test_an_hourly_star_runs_in_both_passes_of_the_repeated_hour() -> None:
    day, next_day = at("2026-10-25T01:30"), at("2026-10-25T03:30")

    assert local_runs("0 * * * *", BERLIN, day, next_day) == ["02:00+0200", "02:00+0100", "03:00+0100"]


def test_a_cron_run_that_never_comes_is_refused() -> None:
    # Starred days are ANDed with the weekday: the first of a month is never its second Monday.
    with pytest.raises(ConfigError, match="never fall together"):
        cron("0 0 */31 * MON#2")


def test_the_calendar_ends_with_the_year_9999() -> None:
    assert cron("0 0 29 2 *").next_after(253_402_300_799.0) == float("inf")


@pytest.mark.parametrize(
    ("expression", "zone", "named"),
    [
        ("61 * * * *", "UTC", "minute"),
        ("* * * *", "UTC", "five fields"),
        ("0 * * * * *", "UTC", "five fields"),
        ("0 0 31 2,4 *", "UTC", "column 5: no month of FEB, APR has a day 31"),
        ("0 3 * * *", "Europe/Atlantis", "Europe/Atlantis"),
        ("0 3 * * *", "../../etc/passwd", "../../etc/passwd"),
    ],
)
def test_a_wrong_expression_or_zone_is_named(expression: str, zone: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        cron(expression, zone)


def test_an_entry_needs_exactly_one_of_every_and_cron() -> None:
    with pytest.raises(ConfigError, match="none of every, cron"):
        schedule_of(BeatEntryConfig(name="neither", task="t"))
    with pytest.raises(ConfigError, match=r"beat\.schedule\.both: every and cron are given"):
        schedule_of(BeatEntryConfig(name="both", task="t", every=1.0, cron="* * * * *"), "both")


def test_the_zone_of_an_entry_counts() -> None:
    entry = BeatEntryConfig(name="nightly", task="t", cron="0 3 * * *", timezone="Europe/Berlin")

    found = schedule_of(entry).next_after(datetime(2026, 7, 1, tzinfo=timezone.utc).timestamp())

    assert found == datetime(2026, 7, 1, 1, tzinfo=timezone.utc).timestamp()


@pytest.mark.parametrize(
    ("keys", "spring", "autumn"),
    [
        ({"cron": "30 2 * * *"}, "03:00", "02:30+0200"),
        ({"cron": "30 2 * * *", "dst_gap": "skip", "dst_overlap": "both"}, "", "02:30+0200 02:30+0100"),
        ({"cron": "0 1-4 * * *"}, "01:00 03:00 04:00", "01:00+0200 02:00+0200 03:00+0100 04:00+0100"),
        (
            {"cron": "0 1-4 * * *", "dst_overlap": "both"},
            "01:00 03:00 04:00",
            "01:00+0200 02:00+0200 02:00+0100 03:00+0100 04:00+0100",
        ),
        (
            {"cron": "0 * * * *", "end": "2027-10-31T03:00:00"},
            "00:00 01:00 03:00 04:00 05:00",
            "00:00+0200 01:00+0200 02:00+0200 02:00+0100 03:00+0100",
        ),
    ],
)
def test_the_table_of_the_documentation_holds(keys: dict[str, Any], spring: str, autumn: str) -> None:
    entry = BeatEntryConfig(name="x", task="t", timezone="Europe/Berlin", **keys)

    def runs(day: str, form: str) -> str:
        start, end = at(f"{day}T00:00") - 1, at(f"{day}T05:30")
        found, schedule = [], schedule_of(entry)
        while (start := schedule.next_after(start)) < end:
            found.append(f"{datetime.fromtimestamp(start, BERLIN):{form}}")
        return " ".join(found)

    assert runs("2027-03-28", "%H:%M") == spring
    assert runs("2027-10-31", "%H:%M%z") == autumn
