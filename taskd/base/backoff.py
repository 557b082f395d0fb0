"""Exponential backoff with full jitter, for restarts, reconnects and task retries.

Full jitter (a uniform draw between zero and the exponential ceiling) spreads a herd of clients
best; see "Exponential Backoff And Jitter", AWS Architecture Blog, 2015.  Pure: the random source
comes in through the constructor.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Delays that double from ``base_s`` up to ``max_s``.

    ``jitter`` off returns the ceiling itself.  ``floor_s`` is added under the jitter, for callers
    that must never retry at once.
    """

    base_s: float
    max_s: float
    factor: float = 2.0
    jitter: bool = True
    floor_s: float = 0.0
    uniform: Callable[[float, float], float] = random.uniform

    def ceiling_s(self, attempt: int) -> float:
        """Return the longest delay before attempt number ``attempt`` (the first retry is 1)."""
        # Beyond 64 doublings every sensible max_s is reached; without the cap a float overflows.
        exponent = min(max(attempt - 1, 0), 64)
        return min(self.max_s, self.base_s * self.factor**exponent)

    def delay_s(self, attempt: int) -> float:
        """Return the seconds to wait before attempt number ``attempt``."""
        ceiling = self.ceiling_s(attempt)
        if not self.jitter:
            return max(self.floor_s, ceiling)
        return max(self.floor_s, self.uniform(0.0, ceiling))
