"""Lamport's logical clock: orders what the nodes of a cluster say, whatever their wall clocks say.

See L. Lamport, Time, Clocks and the Ordering of Events in a Distributed System, 1978.  Celery carries
it in events, in the headers of remote control, and in mingle's ``hello``.
"""

from __future__ import annotations

#: JSON numbers are exact up to here.
MAX = 2**53
#: No sender can push a clock beyond this, so that what it counts afterwards stays exact too.
MAX_ADJUSTED = 2**52


class LamportClock:
    """One node's clock.  For one thread."""

    __slots__ = ("value",)

    def __init__(self, value: int = 0) -> None:
        self.value = value

    def forward(self) -> int:
        """Count something that is sent; return the time to write on it."""
        self.value += 1
        return self.value

    def adjust(self, other: int) -> int:
        """Count something that was received with ``other`` written on it; return the time of its receipt."""
        self.value = max(self.value, min(max(other, 0), MAX_ADJUSTED)) + 1
        return self.value
