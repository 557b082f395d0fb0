"""Schedules in words, and dry runs with remarks at changes of the clock."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from taskd.beat.schedules.rehearsal import rehearse
from taskd.beat.schedules.words import cron_in_words, in_words
from taskd.config.crontab import parse
from taskd.config.schedule import WhenConfig

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp()


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("* * * * *", "every minute"),
        ("*/5 * * * *", "every 5 minutes"),
        ("*/7 * * * *", "at minutes 0, 7, 14, 21, 28, 35, 42, 49 and 56 of every hour"),
        ("@hourly", "at minute 0 of every hour"),
        ("0 3 * * *", "at 03:00 every day"),
        ("30 6,18 * * *", "at 06:30 and 18:30 every day"),
        ("0 3 * 2 *", "at 03:00 every day in February"),
        ("*/15 9-17 * * MON-FRI", "every 15 minutes, during hours 9 to 17 on Monday to Friday"),
        ("* 2 * * *", "every minute, during hour 2"),
        ("0 3 1 * FRI", "at 03:00 on day 1 of the month, and on Friday"),
        (
            "0 3 */2 JAN MON",
            "at 03:00 on days 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29 and 31 of ",
        ),
        ("0 0 L * *", "at 00:00 on the last day of the month"),
        (
            "0 0 LW 1-3,6 *",
            "at 00:00 on the last working day (Monday to Friday) of the month in January to March",
        ),
        ("0 0 * * MON#2,5L", "at 00:00 on the second Monday of the month and the last Friday of the month"),
        ("0 0 * * 6,7", "at 00:00 on Saturday and Sunday"),
    ],
)
def test_an_expression_is_told_in_words(expression: str, words: str) -> None:
    assert cron_in_words(parse(expression)).startswith(words)


def test_days_that_must_agree_are_told_as_a_condition() -> None:
    assert (
        cron_in_words(parse("0 0 13 * FRI", "both")) == "at 00:00 on day 13 of the month, if that is Friday"
    )


@pytest.mark.parametrize(
    ("when", "words"),
    [
        (WhenConfig(every=300.0), "every 5 minutes, counted from midnight UTC of 1970-01-01"),
        (
            WhenConfig(every=86_400.0, align="2026-01-01T03:00:00", timezone=BERLIN),
            "every day, counted from 2026-01-01 03:00:00, Europe/Berlin time",
        ),
        (WhenConfig(at="2027-01-01T03:00:00"), "once, at 2027-01-01 03:00:00, UTC time"),
        (
            WhenConfig(solar="dusk_civil", latitude=-33.9, longitude=151.2),
            "at civil dusk at 33.9° south, 151.2° east, on days that have it",
        ),
        (
            WhenConfig(cron="* * * * *", start="2026-01-01T03:00:00", max_runs=3, jitter=60.0),
            "every minute, UTC time, at most 3 times, from 2026-01-01 03:00:00 on, later by up to 1 minute",
        ),
    ],
)
def test_every_kind_of_schedule_is_told_in_words(when: WhenConfig, words: str) -> None:
    assert in_words(when) == words


def remark(expression: str, start: str, gap: str = "auto", overlap: str = "auto", zone: str = BERLIN) -> str:
    when = WhenConfig(cron=expression, timezone=zone, dst_gap=gap, dst_overlap=overlap)
    (only,) = rehearse(when, "", at(start, zone), at(start, zone) + 3 * 86_400, 1000).remarks
    return only.text


@pytest.mark.parametrize(
    ("expression", "gap", "effect"),
    [
        ("30 2 * * *", "auto", "runs due at 02:30 start at 03:00"),
        ("30 2 * * *", "skip", "runs due at 02:30 are left out"),
        (
            "*/10 * * * *",
            "auto",
            "runs due at 02:00, 02:10, 02:20, 02:30, 02:40 and so on are left out",
        ),
        ("*/30 2 * * *", "next", "runs due at 02:00, 02:30 start at 03:00"),
        ("0 5 * * *", "auto", "no run falls into the time that is left out"),
    ],
)
def test_a_gap_is_remarked_with_what_becomes_of_its_runs(expression: str, gap: str, effect: str) -> None:
    expected = f"the clock of Europe/Berlin goes ahead from 2027-03-28 02:00 to 03:00; {effect}"

    assert remark(expression, "2027-03-27", gap=gap) == expected


@pytest.mark.parametrize(
    ("expression", "overlap", "effect"),
    [
        ("30 2 * * *", "auto", "runs due at 02:30 start once, the first time"),
        ("30 2 * * *", "both", "runs due at 02:30 start twice"),
        ("0 * * * *", "auto", "runs due at 02:00 start twice"),
        ("0 3 * * *", "auto", "no run falls into the time that comes twice"),
    ],
)
def test_an_overlap_is_remarked_with_how_often_its_runs_come(
    expression: str, overlap: str, effect: str
) -> None:
    expected = f"the clock of Europe/Berlin goes back from 2026-10-25 03:00 to 02:00; {effect}"

    assert remark(expression, "2026-10-24", overlap=overlap) == expected


def test_the_day_that_samoa_left_out_is_remarked() -> None:
    assert "from 2011-12-30 00:00 to 2011-12-31 00:00" in remark(
        "0 9 * * *", "2011-12-28", zone="Pacific/Apia"
    )


def test_a_dry_run_ends_with_its_period_or_with_the_number_asked_for() -> None:
    when = WhenConfig(cron="0 3 * * *", timezone=BERLIN)
    start, end = at("2026-05-01"), at("2026-05-03T03:00")

    whole, cut = rehearse(when, "", start, end, 10), rehearse(when, "", start, end, 2)

    assert whole.occurrences == tuple(at(f"2026-05-0{day}T03:00") for day in (1, 2, 3))
    assert not whole.has_more
    assert cut.occurrences == whole.occurrences[:2]
    assert cut.has_more


def test_changes_after_the_last_run_that_is_shown_are_not_remarked() -> None:
    when = WhenConfig(cron="0 0 * * *", timezone=BERLIN)

    assert rehearse(when, "", at("2026-10-20"), at("2026-11-20"), 2).remarks == ()
