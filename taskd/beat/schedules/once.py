"""One moment, and never again."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Once:
    """Fires at one wall-clock second."""

    moment_at: float

    def next_after(self, at: float) -> float:
        """Return the moment while it lies ahead."""
        return self.moment_at if self.moment_at > at else math.inf
