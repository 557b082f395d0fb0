"""The bounds of letters of failed tasks.  Pure; time is passed in."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from taskd.config.stores import FailuresConfig

#: Number of letters that may go for each that comes: a store that is too full becomes smaller.
GONE_FOR_EACH = 2


class Kept(NamedTuple):
    """One letter that is there."""

    id: int
    failed_at: float
    size: int


def excess(
    letters: int, size: int, oldest_first: Iterable[Kept], bounds: FailuresConfig, now: float
) -> list[int]:
    """Return the ids of letters to delete, among these oldest ones of ``letters`` with ``size`` bytes."""
    gone = []
    for each in oldest_first:
        if letters <= bounds.max and size <= bounds.max_bytes and each.failed_at >= now - bounds.keep:
            break
        gone.append(each.id)
        letters -= 1
        size -= each.size
    return gone
