"""Sun events: each once a solar day, at the angle it is defined by, and none in polar days and nights."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskd.base.errors import ConfigError
from taskd.beat.schedules.build import schedule_of
from taskd.beat.schedules.solar import Solar, SolarEvent, elevation, solar
from taskd.config.schedule import SOLAR_EVENTS, WhenConfig

TROMSO = (69.65, 18.96)
QUITO = (-0.18, -78.47)
ANGLES = {"sunrise": -50 / 60, "sunset": -50 / 60, "civil": -6.0, "nautical": -12.0, "astronomical": -18.0}

events = st.sampled_from([event for event in SolarEvent if event is not SolarEvent.NOON])
moments = st.integers(946_684_800, 2_524_608_000)
longitudes = st.floats(-180, 180)


def utc(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def day_of(at: float) -> str:
    return datetime.fromtimestamp(at, timezone.utc).date().isoformat()


def test_the_events_are_those_of_the_configuration() -> None:
    assert tuple(event.value for event in SolarEvent) == SOLAR_EVENTS


@given(event=events, latitude=st.floats(-66, 66), longitude=longitudes, at=moments)
@settings(max_examples=150, deadline=None)
def test_an_event_is_when_the_sun_crosses_its_angle_in_the_right_direction(
    event: SolarEvent, latitude: float, longitude: float, at: int
) -> None:
    found = Solar(event, latitude, longitude).next_after(float(at))

    angle = ANGLES[event.value.rpartition("_")[2]]
    rises = event.value.startswith(("dawn", "sunrise"))
    before, after = (elevation(found + span, latitude, longitude) for span in (-2.0, 2.0))
    low, high = (before, after) if rises else (after, before)
    assert low < angle < high


@given(event=events, latitude=st.floats(-89, 89), longitude=longitudes, at=moments)
@settings(max_examples=100, deadline=None)
def test_no_crossing_is_left_out_or_doubled(
    event: SolarEvent, latitude: float, longitude: float, at: int
) -> None:
    """Against a look at the sun every two minutes of four days."""
    angle = ANGLES[event.value.rpartition("_")[2]]
    rises = event.value.startswith(("dawn", "sunrise"))
    heights = [(at + span, elevation(at + span, latitude, longitude)) for span in range(0, 4 * 86_400, 120)]
    crossings = [
        (earlier, later)
        for (earlier, low), (later, high) in pairwise(heights)
        if (low < angle <= high if rises else high < angle <= low)
    ]
    schedule = Solar(event, latitude, longitude)

    found, moment = [], float(at) - 1
    while (moment := schedule.next_after(moment)) <= heights[-1][0]:
        found.append(moment)

    # A crossing at the very edge of the window, or of the day, may be counted on either side of it.
    inside = [run for run in found if at + 120 < run < heights[-1][0] - 120]
    seen = [pair for pair in crossings if at + 120 < pair[0] and pair[1] < heights[-1][0] - 120]
    for run in inside:
        assert any(earlier - 1 <= run <= later + 1 for earlier, later in crossings)
    for earlier, later in seen:
        grazing = abs(elevation(earlier - 1800, latitude, longitude) - angle) < 0.05
        assert grazing or any(earlier - 1 <= run <= later + 1 for run in found)


@given(latitude=st.floats(-89, 89), longitude=longitudes, at=moments)
@settings(max_examples=60, deadline=None)
def test_noon_comes_once_a_day_when_the_sun_is_highest(latitude: float, longitude: float, at: int) -> None:
    schedule = Solar(SolarEvent.NOON, latitude, longitude)

    first = schedule.next_after(float(at))
    second = schedule.next_after(first)

    assert 86_400 - 40 < second - first < 86_400 + 40
    heights = [elevation(first + span, 0.0, longitude) for span in (-1800, 0, 1800)]
    assert max(heights) == heights[1]


def test_the_almanac_of_berlin() -> None:
    # Sunrise and sunset of 2026-06-21 as the almanacs print them: 04:43 and 21:33 in summer time.
    start = utc("2026-06-21")

    assert solar(SolarEvent.SUNRISE, 52.52, 13.405).next_after(start) == pytest.approx(
        utc("2026-06-21T02:43:00"), abs=60
    )
    assert solar(SolarEvent.SUNSET, 52.52, 13.405).next_after(start) == pytest.approx(
        utc("2026-06-21T19:33:00"), abs=60
    )


def test_after_the_polar_day_the_sun_rises_on_the_next_day_that_it_does() -> None:
    found = Solar(SolarEvent.SUNRISE, *TROMSO).next_after(utc("2026-06-01"))

    assert "2026-07-22" <= day_of(found) <= "2026-07-28"


def test_after_the_polar_night_the_sun_rises_in_january() -> None:
    found = Solar(SolarEvent.SUNRISE, *TROMSO).next_after(utc("2026-12-10"))

    assert "2027-01-12" <= day_of(found) <= "2027-01-18"


def test_white_nights_have_no_astronomical_dusk() -> None:
    found = Solar(SolarEvent.DUSK_ASTRONOMICAL, 59.94, 30.31).next_after(utc("2026-05-15"))

    assert "2026-08-18" <= day_of(found) <= "2026-08-24"  # when the sun is 12 degrees north


def test_the_equator_never_waits() -> None:
    schedule = Solar(SolarEvent.SUNSET, *QUITO)
    moment = utc("2026-01-01")
    for _ in range(366):
        following = schedule.next_after(moment)
        assert following - moment < 86_400 + 60
        moment = following


def test_noon_comes_at_the_pole_and_sunrise_after_the_long_night() -> None:
    assert Solar(SolarEvent.NOON, 90.0, 0.0).next_after(utc("2026-01-01")) < utc("2026-01-02")
    rise = Solar(SolarEvent.SUNRISE, 90.0, 0.0).next_after(utc("2026-10-10"))
    assert rise == pytest.approx(utc("2027-03-19"), abs=3 * 86_400)


def test_without_the_extra_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "astral.sun", None)

    with pytest.raises(ConfigError, match=r"pip install 'taskd\[solar\]'"):
        schedule_of(WhenConfig(solar="sunset", latitude=1.0, longitude=2.0))
