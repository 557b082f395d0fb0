"""The figures of the runs that have ended here: how many, for whoever asks, and how long tasks take."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from taskd.consumer.moments import RunEnded

#: Weight of the newest run in the mean.
_NEWEST = 0.1
#: The cost of the shortest run, framing and settling included; keeps divisions sane.
FLOOR_S = 10e-6


@dataclass(slots=True)
class Tally:
    """The counts of one worker, for heartbeats and ``inspect stats``; they only grow."""

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


@dataclass(slots=True)
class RunTimes:
    """Remembers how long tasks take: one mean over all, one cautious figure for each name.

    The figure of a name follows a longer run at once and a shorter one slowly.  A task is called short only
    when its last runs were, so nothing waits long behind a job that was taken for short.
    """

    mean_s: float = 0.0
    _peak_s: dict[str, float] = field(default_factory=dict)

    def hear(self, ended: Sequence[RunEnded]) -> None:
        """Take in the runs that have ended."""
        for each in ended:
            if each.runtime_s is not None:
                self.record(each.headers.task, each.runtime_s)

    def record(self, name: str, runtime_s: float) -> None:
        """Take in one finished run."""
        mean = self.mean_s
        self.mean_s = runtime_s if mean == 0.0 else mean + _NEWEST * (runtime_s - mean)
        peak = self._peak_s.get(name, 0.0)
        self._peak_s[name] = runtime_s if runtime_s > peak else peak + _NEWEST * (runtime_s - peak)

    def expected_s(self, name: str) -> float:
        """Return the expected run time of a task, 0 when it has never been seen."""
        peak = self._peak_s.get(name, 0.0)
        return max(peak, FLOOR_S) if peak else 0.0
