"""A look at every minute: the slow, plain judge of cron schedules.

It knows nothing of offsets, folds or calendars of cron: it asks the zone what the wall clock shows at each
minute of a window, and compares what was shown with what a predicate wants.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from taskd.beat.schedules.zones import Gap, Overlap

#: Changes at midnight, of half an hour and of two hours, the day that Samoa left out, pauses for Ramadan,
#: and Ireland, whose winter time counts as the deviation.
ZONES = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/New_York",
    "America/Sao_Paulo",
    "Antarctica/Troll",
    "Asia/Tehran",
    "Australia/Lord_Howe",
    "Europe/Berlin",
    "Europe/Dublin",
    "Pacific/Apia",
)
FIRST_YEAR, LAST_YEAR = 2000, 2030
MINUTE = timedelta(minutes=1)
#: Minutes before a window in which a label may have been shown for the first time.
LEAD = 24 * 60

Wanted = Callable[[datetime], bool]


@dataclass(frozen=True)
class Window:
    """Consecutive minutes and what the wall clock shows at each; the first ``LEAD`` are not judged."""

    minutes: Sequence[int]
    shown: Sequence[datetime]

    @property
    def start(self) -> int:
        return self.minutes[LEAD]

    @property
    def end(self) -> int:
        return self.minutes[-1]

    def runs(self, wanted: Wanted, gap: Gap, overlap: Overlap) -> list[float]:
        """Return the minutes later than ``start`` at which a schedule is to fire."""
        seen: set[datetime] = set()
        found: list[float] = []
        former = self.shown[0] - MINUTE
        for minute, label in zip(self.minutes, self.shown, strict=True):
            fires = wanted(label) and (label not in seen or overlap is Overlap.BOTH)
            if gap is Gap.NEXT and label > former + MINUTE:
                fires |= any(wanted(left_out) for left_out in _between(former, label))
            if fires and minute > self.start:
                found.append(float(minute))
            seen.add(label)
            former = label
        return found


def window(zone: ZoneInfo, start: int, hours: int) -> Window:
    """Return the window of so many hours after ``start``, an epoch second of a whole minute."""
    minutes = range(start - LEAD * 60, start + hours * 3600 + 60, 60)
    return Window(
        minutes, [datetime.fromtimestamp(minute, zone).replace(tzinfo=None, fold=0) for minute in minutes]
    )


def changes(name: str) -> list[int]:
    """Return the whole hours of thirty years after which the wall clock does not go on by an hour."""
    zone = ZoneInfo(name)
    start = int(datetime(FIRST_YEAR, 1, 1, tzinfo=zone).timestamp()) // 3600 * 3600
    end = int(datetime(LAST_YEAR, 1, 1, tzinfo=zone).timestamp())
    found: list[int] = []
    former = datetime.fromtimestamp(start, zone).replace(tzinfo=None)
    for hour in range(start + 3600, end, 3600):
        shown = datetime.fromtimestamp(hour, zone).replace(tzinfo=None)
        if shown != former + timedelta(hours=1):
            found.append(hour - 3600)
        former = shown
    return found


def is_nth(day: datetime, weekday: int, nth: int) -> bool:
    """Whether it is the nth such weekday of its month (Sunday is 0), -1 the last; counted day by day."""
    days = [
        each
        for each in range(1, monthrange(day.year, day.month)[1] + 1)
        if day.replace(day=each).isoweekday() % 7 == weekday
    ]
    return len(days) >= abs(nth) and day.day == (days[nth - 1] if nth > 0 else days[nth])


def _between(former: datetime, label: datetime) -> list[datetime]:
    count = (label - former) // MINUTE
    return [former + MINUTE * number for number in range(1, count)]
