"""Schedules of a fixed interval, on a grid.

Without an anchor the grid starts at the epoch: ``every = "5m"`` fires at :00, :05, :10, and
``every = "1d"`` at midnight UTC.  An interval counted from the start of beat would never fire when beat
is restarted more often than that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Interval:
    """Every ``every_s`` seconds of elapsed time, on the grid on which ``anchor_at`` lies."""

    every_s: float
    anchor_at: float = 0.0

    def next_after(self, at: float) -> float:
        """Return the first moment of the grid strictly later than ``at``."""
        # Division rounds either way, so the quotient may name a neighbour; multiples are never summed.
        count = math.floor((at - self.anchor_at) / self.every_s) - 1
        while self.anchor_at + count * self.every_s <= at:
            count += 1
        return self.anchor_at + count * self.every_s
