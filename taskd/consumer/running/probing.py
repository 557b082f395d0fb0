"""Decide which end goes to the app while the store of the app's results is away.

The first end that cannot be stored shuts the way.  One end at a time is then the *probe*: it asks, after a
while that grows, whether the store is back, and the others wait for its answer.  A thousand open ends ask no
more often than one.  Each probe is another end, so one that can never be stored holds up no other.

Pure: the time comes in.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from taskd.base.backoff import Backoff


class Way(Enum):
    """How the way to the store is, as far as the worker knows."""

    OPEN = "open"
    #: The store did not take an end; the next probe has its time.
    SHUT = "shut"
    #: A probe is with the app.
    PROBED = "probed"


class Turn(Enum):
    """The answer to an end that is to go."""

    GO = "go"
    #: Go, as the probe.
    PROBE = "probe"
    #: Wait for the answer of the probe, or for the time of the next one.
    WAIT = "wait"


@dataclass(slots=True)
class Probing:
    """The knowledge of the way of one worker's ends."""

    again: Backoff
    way: Way = Way.OPEN
    #: When the next probe may go, while the way is shut (monotonic).
    next_at: float = 0.0
    #: Probes, and the end that shut the way, that brought nothing since it was open.
    failures: int = 0
    #: Ends that the store has taken.
    taken: int = 0

    def turn(self, now: float) -> Turn:
        """Return whether an end goes now; the caller tells how a probe ended."""
        match self.way:
            case Way.OPEN:
                return Turn.GO
            case Way.PROBED:
                return Turn.WAIT
            case Way.SHUT if now < self.next_at:
                return Turn.WAIT
            case Way.SHUT:
                self.way = Way.PROBED
                return Turn.PROBE

    def is_fault_of_end(self, taken_before: int | None) -> bool:
        """Return whether an end that fails is to blame itself: the store took others since it last failed.

        ``taken_before``: ``taken`` at that time; None for the first time.
        """
        return self.way is Way.OPEN and taken_before is not None and self.taken > taken_before

    def failed(self, now: float, *, was_probe: bool) -> bool:
        """Take in that an end was not stored; return whether that has shut the way."""
        shuts = self.way is Way.OPEN
        if shuts or was_probe:
            self.failures += 1
            self.way = Way.SHUT
            self.next_at = now + self.again.delay_s(self.failures)
        return shuts

    def took(self) -> bool:
        """Take in that an end was stored; return whether that has opened the way: all that wait go now."""
        opens = self.way is not Way.OPEN
        self.taken += 1
        self.failures = 0
        self.way = Way.OPEN
        return opens

    def told_nothing(self, now: float) -> None:
        """Take in that a probe ended in a way that says nothing of the store: another one goes at once."""
        self.way = Way.SHUT
        self.next_at = now
