"""How many runs have ended here, for heartbeats, ``inspect stats`` and whoever waits for progress."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from taskd.consumer.moments import RunEnded


@dataclass(slots=True)
class Tally:
    """The counts of one worker; they only grow."""

    #: By the names of tasks.
    totals: Counter[str] = field(default_factory=Counter)
    #: Runs that have ended, however, and those of them that are FAILURE.
    done: int = 0
    failed: int = 0

    def hear(self, ended: Sequence[RunEnded]) -> None:
        """Count the runs that have ended."""
        totals = self.totals
        for each in ended:
            if each.ran:
                totals[each.headers.task] += 1
                self.done += 1
                if each.failed:
                    self.failed += 1
