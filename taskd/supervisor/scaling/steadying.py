"""Up at once, down slowly, and slower still for a load that swings.  Pure.

A process is given up when fewer would have done for a whole window.  A process that has to be started again
within that same window was given up too early.  The window grows by its own length (uWSGI's cheaper-busyness
learns in this way), and shrinks again when giving up proves right.
"""

from __future__ import annotations

from dataclasses import dataclass

#: The window never grows beyond this multiple of its length.
MAX_PENALTY = 8


@dataclass(frozen=True, slots=True)
class Steadiness:
    """The memory of one group.

    ``seen``: pairs of monotonic seconds and the number wanted then, a new one only where the number
    changed.  ``penalty``: by how much the window is longer now.  ``shrunk_at``: when processes were last
    given up, None before the first time and once that has proved right or wrong.
    """

    seen: tuple[tuple[float, int], ...] = ()
    penalty: int = 1
    shrunk_at: float | None = None


def steady(
    wanted: int, present: int, memory: Steadiness, *, now: float, window_s: float
) -> tuple[int, Steadiness]:
    """Return how many processes there should be from now on, and the memory for the next call."""
    long_s = window_s * memory.penalty
    seen = _remember(memory.seen, now, wanted, now - long_s)
    penalty = memory.penalty
    shrunk_at = memory.shrunk_at
    if shrunk_at is not None and now - shrunk_at > long_s:
        penalty, shrunk_at = max(1, penalty - 1), None  # giving up was right
    if wanted > present:
        if shrunk_at is not None:
            penalty, shrunk_at = min(MAX_PENALTY, penalty + 1), None  # it was too early
        return wanted, Steadiness(seen, penalty, shrunk_at)
    peak = max(number for _, number in seen)
    known_for_s = now - seen[0][0]
    if peak >= present or known_for_s < long_s:
        return present, Steadiness(seen, penalty, shrunk_at)
    return peak, Steadiness(seen, penalty, now)


def _remember(
    seen: tuple[tuple[float, int], ...], now: float, wanted: int, since: float
) -> tuple[tuple[float, int], ...]:
    """Add what is wanted now; forget what ended before ``since``, but for what still held then."""
    if not seen or seen[-1][1] != wanted:
        seen = (*seen, (now, wanted))
    first = 0
    while first + 1 < len(seen) and seen[first + 1][0] <= since:
        first += 1
    return seen[first:]
