"""One kind of deadline for everything that ends by a time.

The verbs are the same everywhere: ``start`` is answered when the thing runs, ``quiet`` takes
nothing new and never blocks, ``stop`` ends by a deadline, ``kill`` ends at once.  A deadline is
absolute monotonic time, computed once at the top and handed down, so that nested waits cannot add up.
"""

from __future__ import annotations

from dataclasses import dataclass

from taskd.base import clock


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point in monotonic time; ``until`` may be ``inf`` for "no limit"."""

    until: float

    @classmethod
    def after(cls, delay_s: float) -> Deadline:
        """Return the deadline ``delay_s`` seconds from now."""
        return cls(clock.monotonic() + delay_s)

    def remaining_s(self) -> float:
        """Return the seconds left, never negative."""
        return max(0.0, self.until - clock.monotonic())

    @property
    def passed(self) -> bool:
        """Whether the deadline has been reached."""
        return clock.monotonic() >= self.until
