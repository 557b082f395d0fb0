"""The seam of all schedules."""

from __future__ import annotations

from typing import Protocol


class Schedule(Protocol):
    """Says when a periodic task fires.  Pure, and the same for whoever asks."""

    def next_after(self, at: float) -> float:
        """Return the first occurrence strictly later than ``at``; ``inf`` when there is none.

        Both are wall-clock epoch seconds; ``at`` is finite.
        """
