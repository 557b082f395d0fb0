"""The only module that reads a clock.

Spans and deadlines use ``monotonic`` (it stands still while the machine is suspended, so a
heartbeat's age is never a lie after a resume).  Records for people and other hosts use ``now``.
Never mix the two: names ending in ``_at`` are wall-clock epoch seconds, ``deadline`` and
``_until`` are monotonic seconds.
"""

from __future__ import annotations

import time
from datetime import datetime, timezone

#: Monotonic seconds, for spans and deadlines.  A plain alias: it is called on the hot path.
monotonic = time.monotonic

#: Wall-clock seconds since the epoch, for records and for times that came over the wire.
now = time.time


def utc(at: float) -> datetime:
    """Return the aware UTC datetime of a wall-clock second."""
    return datetime.fromtimestamp(at, timezone.utc)


def iso(at: float) -> str:
    """Return a wall-clock second as ISO 8601 with the UTC offset, as Celery writes it."""
    return utc(at).isoformat()


def utcoffset_hours() -> int:
    """Return how many hours local time is behind UTC now, as Celery writes it into its events."""
    summer = time.localtime().tm_isdst > 0
    return (time.altzone if summer else time.timezone) // 3600
