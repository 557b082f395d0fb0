"""When a message is due or too late, from what a caller gives: one bound for all, the year 2200."""

from __future__ import annotations

from datetime import datetime, timedelta
from math import isfinite
from numbers import Real

from taskd.base import clock
from taskd.protocol.message import FAR_FUTURE_AT, FAR_FUTURE_YEAR

#: A time that is longer past than this says no more than that it is past.
_LONG_PAST_S = 86_400.0


def due_in(wait: float | timedelta, what: str) -> float:
    """Return the wall-clock second that is ``seconds`` from now; a negative number is past.

    Raises: ``TypeError`` when it is not a span of time, ``ValueError`` beyond the year 2200.  ``what`` begins
    the error, as in ``task "shop.add": countdown``.
    """
    if isinstance(wait, timedelta):
        wait = wait.total_seconds()
    given: object = wait
    if isinstance(given, bool) or not isinstance(given, Real):
        raise TypeError(f"{what} is {wait!r}; expected seconds or a timedelta")
    now = clock.now()
    if not isinstance(wait, int) and not isfinite(wait):
        raise ValueError(f"{what} is {wait!r}; expected seconds")
    if wait > FAR_FUTURE_AT - now:
        raise ValueError(
            f"{what} lies beyond the year {FAR_FUTURE_YEAR}; expected {int(FAR_FUTURE_AT - now)} s at most"
        )
    return now + max(float(max(wait, -2 * _LONG_PAST_S)), -_LONG_PAST_S)


def expires_at(when: float | timedelta | datetime | None, name: str) -> str | None:
    """Return after which time a message of the task ``name`` is not to run, as headers have it.

    Raises: as ``due_in`` and ``moment``.
    """
    if when is None:
        return None
    what = f'task "{name}": expires'
    return clock.iso(moment(when, what) if isinstance(when, datetime) else due_in(when, what))


def moment(when: datetime, what: str) -> float:
    """Return an aware datetime as wall-clock seconds.

    Raises: ``ValueError`` without a time zone (a naive one is local time for some and UTC for
    others) or in a year that no server will see.
    """
    if when.tzinfo is None or when.utcoffset() is None:
        raise ValueError(f"{what} {when.isoformat()} has no time zone; use datetime.now(timezone.utc) + ...")
    at = when.timestamp()
    if not at < FAR_FUTURE_AT:
        raise ValueError(f"{what} {when.isoformat()} lies beyond the year {FAR_FUTURE_YEAR}")
    return max(at, 0.0)
