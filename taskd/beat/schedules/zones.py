"""Local times and instants: what a clock on the wall shows twice, and what it never shows.

At a change of offset a zone's wall clock jumps.  Ahead, it leaves a *gap* of local times that do not
exist; back, it makes an *overlap* of local times that come twice, in a first and a second pass.  The
entry chooses the rule for them (``Gap``, ``Overlap``).

Changes are found by looking at the offset on both sides and bisecting between; ``zoneinfo`` does not
tell them.  Two changes of one zone within ``REACH_S`` of each other would not be told apart; none of the
zones of tzdata has had such since 1970 (docs/decisions/0007-own-cron-arithmetic.md).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone, tzinfo
from enum import Enum
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from taskd.base.errors import ConfigError
from taskd.base.nearest import nearest

#: Seconds; no zone has ever moved its clock by more at once.
REACH_S = 86_400.0


class Gap(Enum):
    """The rule for a local time that does not exist."""

    NEXT = "next"  # the first instant after the gap takes its place
    SKIP = "skip"


class Overlap(Enum):
    """The rule for a local time that comes twice."""

    FIRST = "first"
    BOTH = "both"


@dataclass(frozen=True, slots=True)
class ClockChange:
    """The wall clock jumps at ``change_at``; the offsets are seconds east of UTC."""

    change_at: float
    offset_before_s: float
    offset_after_s: float

    @property
    def is_gap(self) -> bool:
        """Whether the clock goes ahead."""
        return self.offset_after_s > self.offset_before_s


def zone_named(name: str) -> tzinfo:
    """Return an IANA zone.  Raises: ``ConfigError`` for one that this machine does not know."""
    if name == "UTC":
        return timezone.utc  # known even where tzdata is not installed, and the quick way everywhere
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        known = available_timezones()
        if not known:
            raise ConfigError(
                f'time zone "{name}" cannot be read: this machine has no time zone data; install the '
                f"system package tzdata (or the Python package of that name)"
            ) from error
        hint = nearest(name, known)
        suffix = f'; did you mean "{hint}"?' if hint else ""
        raise ConfigError(
            f'time zone "{name}" is unknown; expected an IANA name such as "Europe/Berlin"{suffix}'
        ) from error


def offset_s(at: float, zone: tzinfo) -> float:
    """Return the seconds that the zone's wall clock is ahead of UTC."""
    offset = datetime.fromtimestamp(at, zone).utcoffset()
    return 0.0 if offset is None else offset.total_seconds()


def wall_clock(at: float, zone: tzinfo) -> datetime:
    """Return what the zone's wall clock shows, without zone."""
    return datetime.fromtimestamp(at, zone).replace(tzinfo=None, fold=0)


def first_pass(local: datetime, zone: tzinfo, gap: Gap) -> float | None:
    """Return the first instant at which the wall clock shows ``local``.

    In a gap: its end, or None with ``Gap.SKIP``.
    """
    found = local.replace(tzinfo=zone).timestamp()
    if wall_clock(found, zone) == local:
        return found
    if gap is Gap.SKIP:
        return None
    # PEP 495: in a gap the first fold reads the offset before it and the second the one after it, so
    # that the change lies between the two readings.
    return _bisect(local.replace(tzinfo=zone, fold=1).timestamp(), found, zone)


def overlap_around(at: float, zone: tzinfo) -> ClockChange | None:
    """Return the overlap whose first or second pass ``at`` lies in, or that comes within ``REACH_S``."""
    before = offset_s(at - REACH_S, zone)
    here = offset_s(at, zone)
    after = offset_s(at + REACH_S, zone)
    if here < before:
        change_at = _bisect(at - REACH_S, at, zone)
        if at < change_at + before - here:
            return ClockChange(change_at, before, here)
    if after < here:
        return ClockChange(_bisect(at, at + REACH_S, zone), here, after)
    return None


def changes_between(start: float, end: float, zone: tzinfo) -> list[ClockChange]:
    """Return the changes of offset in (start, end], in order; looks at each day."""
    found: list[ClockChange] = []
    at = start
    before = offset_s(start, zone)
    while at < end:
        later = min(at + REACH_S, end)
        after = offset_s(later, zone)
        if after != before:
            found.append(ClockChange(_bisect(at, later, zone), before, after))
        at = later
        before = after
    return found


def _bisect(low: float, high: float, zone: tzinfo) -> float:
    """Return the first whole second in (low, high] with the offset of ``high``."""
    target = offset_s(high, zone)
    left = int(low)
    right = -int(-high // 1)
    while right - left > 1:
        middle = (left + right) // 2
        if offset_s(middle, zone) == target:
            right = middle
        else:
            left = middle
    return float(right)
