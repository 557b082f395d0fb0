"""Sunrise and its like at a place on earth, by the equations of the extra ``solar`` (astral, after NOAA).

One solar day runs from one lowest to the next lowest point of the sun and has each event at most once.  The
search bisects the sun's elevation between the lowest point and noon (rising) or noon and the lowest point
(setting).  A day on which the sun does not cross the angle, in the polar night or the white nights, has none.
The next occurrence is then on the first day that has it.

The angles are those of the almanacs, and of Celery's ``solar``.  For sunrise and sunset it is the upper limb
on the horizon with 34' of refraction, for the twilights the centre 6, 12 and 18 degrees below it.  Why not
astral's own ``sunrise``: it answers for a calendar day, and reads its clock.  Some days have the event twice
or not at all far from the zone's meridian.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache

from taskd.base.errors import ConfigError

_DAY_S = 86_400.0
_JULIAN_EPOCH = 2_440_587.5  # the Julian day of 1970-01-01T00:00Z
_JULIAN_2000 = 2_451_545.0
_DEGREE_S = 240.0  # the sun's hour angle grows by a degree in four minutes
#: Nearer to a pole the year moves the sun more than the day does, and a rise may fall between the searches.
_NEAREST_TO_POLE = 89.8
#: An event that recurs at all does so within a year.
_SEARCH_DAYS = 370


class SolarEvent(Enum):
    """The events, by Celery's names."""

    DAWN_ASTRONOMICAL = "dawn_astronomical"
    DAWN_NAUTICAL = "dawn_nautical"
    DAWN_CIVIL = "dawn_civil"
    SUNRISE = "sunrise"
    NOON = "solar_noon"
    SUNSET = "sunset"
    DUSK_CIVIL = "dusk_civil"
    DUSK_NAUTICAL = "dusk_nautical"
    DUSK_ASTRONOMICAL = "dusk_astronomical"


# 34' of refraction and 16' of the sun's radius.
_HORIZON = -50.0 / 60.0
_RISING = {
    SolarEvent.DAWN_ASTRONOMICAL: -18.0,
    SolarEvent.DAWN_NAUTICAL: -12.0,
    SolarEvent.DAWN_CIVIL: -6.0,
    SolarEvent.SUNRISE: _HORIZON,
}
_SETTING = {
    SolarEvent.SUNSET: _HORIZON,
    SolarEvent.DUSK_CIVIL: -6.0,
    SolarEvent.DUSK_NAUTICAL: -12.0,
    SolarEvent.DUSK_ASTRONOMICAL: -18.0,
}


@dataclass(frozen=True, slots=True)
class Solar:
    """An event of the sun; ``latitude`` is degrees north, ``longitude`` degrees east."""

    event: SolarEvent
    latitude: float
    longitude: float

    def next_after(self, at: float) -> float:
        """Return the next occurrence, a whole second; ``inf`` when there is none within a year."""
        latitude = max(-_NEAREST_TO_POLE, min(_NEAREST_TO_POLE, self.latitude))
        today = math.floor((at + self.longitude * _DEGREE_S) / _DAY_S)
        # A solar day is up to a quarter of an hour before or behind the mean one, so begin early.
        for day in range(today - 1, today + _SEARCH_DAYS):
            found = _occurrence(self.event, latitude, self.longitude, day)
            if found is not None and found > at:
                return found
        return math.inf


def solar(event: SolarEvent, latitude: float, longitude: float) -> Solar:
    """Return the schedule of an event of the sun.  Raises: ``ConfigError`` when astral is not installed."""
    try:
        import astral.sun  # noqa: F401 - asked for here so that the first occurrence cannot fail
    except ImportError as error:
        raise ConfigError(
            f"solar events ({event.value}) need the package astral; install it: pip install 'taskd[solar]'"
        ) from error
    return Solar(event, latitude, longitude)


def elevation(at: float, latitude: float, longitude: float) -> float:
    """Return the degrees of the sun's centre above the horizon, without refraction."""
    from astral.sun import sun_declination

    north = math.radians(latitude)
    declination = math.radians(sun_declination(_century(at)))
    angle = math.radians(_hour_angle(at, longitude))
    sine = math.sin(north) * math.sin(declination) + math.cos(north) * math.cos(declination) * math.cos(angle)
    return math.degrees(math.asin(max(-1.0, min(1.0, sine))))


@lru_cache(maxsize=4096)  # many entries may wait for the same sunset
def _occurrence(event: SolarEvent, latitude: float, longitude: float, day: int) -> float | None:
    noon_at = _noon(day, longitude)
    if event is SolarEvent.NOON:
        return float(round(noon_at))
    rising = event in _RISING
    angle = _RISING[event] if rising else _SETTING[event]
    low_at = noon_at + (-_DAY_S / 2 if rising else _DAY_S / 2)
    high_at = noon_at
    if not elevation(low_at, latitude, longitude) < angle <= elevation(high_at, latitude, longitude):
        return None
    while abs(high_at - low_at) > 0.01:
        middle_at = (low_at + high_at) / 2
        if elevation(middle_at, latitude, longitude) < angle:
            low_at = middle_at
        else:
            high_at = middle_at
    return float(round(high_at))


def _noon(day: int, longitude: float) -> float:
    """Return when the sun crosses the meridian on a mean solar day, counted from 1970 at that longitude."""
    mean_at = (day + 0.5) * _DAY_S - longitude * _DEGREE_S
    noon_at = mean_at
    for _ in range(3):  # the equation of time moves by 30 s a day: each round gains a factor of 3,000
        noon_at -= _hour_angle(noon_at, longitude) * _DEGREE_S
    return noon_at


def _hour_angle(at: float, longitude: float) -> float:
    """Return the degrees by which the sun has passed the meridian, from -180 to 180."""
    from astral.sun import eq_of_time

    passed_s = at + eq_of_time(_century(at)) * 60.0 + longitude * _DEGREE_S
    return (passed_s / _DEGREE_S) % 360.0 - 180.0


def _century(at: float) -> float:
    return (at / _DAY_S + _JULIAN_EPOCH - _JULIAN_2000) / 36_525.0
