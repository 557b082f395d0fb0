"""Jumps of the wall clock: seen by comparing it with the monotonic one.  Pure; callers bring both times.

Somebody sets the clock, a machine comes back from a suspension, a virtual one from a snapshot.  Then all that
is due by the wall clock is early or late: delayed tasks, periodic tasks, leases of other hosts.
"""

from __future__ import annotations

#: Less is what time servers correct little by little.
LEAST_S = 2.0


class Jumps:
    """Knows by how much the wall clock was ahead of the monotonic one when it was last looked at."""

    def __init__(self, now: float, monotonic: float) -> None:
        self._ahead_s = now - monotonic

    def look(self, now: float, monotonic: float) -> float:
        """Return by how many seconds the clock was set forward since the last look, below zero for back."""
        former, self._ahead_s = self._ahead_s, now - monotonic
        by_s = self._ahead_s - former
        return by_s if abs(by_s) >= LEAST_S else 0.0


def in_words(by_s: float) -> str:
    """Return what happened, for a line of the log."""
    return f"the clock was set {'forward' if by_s > 0 else 'back'} by {abs(by_s):.0f} s"
