"""How much to claim ahead, and how long a task is expected to run.

Pure: measured run times come in, numbers come out.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: "auto" keeps about this much work claimed beyond what runs.
AHEAD_S = 0.1
_SHORTEST_STALL_S = 0.02
#: However short the tasks are, no more than this many are claimed ahead.
MAX_AHEAD = 1024
#: Weight of the newest run in the mean.
_NEWEST = 0.1
#: The least cost of a run, framing and settling included; keeps the division sane.
_FLOOR_S = 10e-6


@dataclass(slots=True)
class RunTimes:
    """Remembers how long tasks take: one mean over all, one cautious figure for each name.

    The figure of a name follows a longer run at once and a shorter one slowly: a task is called
    short only when its last runs were, so nothing waits long behind a job that was taken for short.
    """

    mean_s: float = 0.0
    _peak_s: dict[str, float] = field(default_factory=dict)

    def record(self, name: str, runtime_s: float) -> None:
        """Take in one finished run."""
        mean = self.mean_s
        self.mean_s = runtime_s if mean == 0.0 else mean + _NEWEST * (runtime_s - mean)
        peak = self._peak_s.get(name, 0.0)
        self._peak_s[name] = runtime_s if runtime_s > peak else peak + _NEWEST * (runtime_s - peak)

    def expected_s(self, name: str) -> float:
        """Return the expected run time of a task, 0 when it has never been seen."""
        peak = self._peak_s.get(name, 0.0)
        return max(peak, _FLOOR_S) if peak else 0.0


def target_held(prefetch: int | str, capacity: int, mean_s: float) -> int:
    """Return how many jobs a pool should hold, running and waiting together.

    With ``"auto"``: the running ones plus what the slots do in 100 ms by the measured mean; just the
    running ones while nothing was measured, so that long tasks are never hoarded.
    """
    if not isinstance(prefetch, str):
        return capacity + prefetch
    if mean_s <= 0.0:
        return capacity
    ahead = int(AHEAD_S * capacity / max(mean_s, _FLOOR_S))
    return capacity + min(ahead, MAX_AHEAD)


def stall_after_s(mean_s: float) -> float:
    """Return how long nothing may finish before what was claimed ahead was claimed by mistake.

    Five mean run times, but not so short that a pause of the machine counts, and never longer than
    what is claimed ahead would have taken.
    """
    return min(AHEAD_S, max(_SHORTEST_STALL_S, 5 * mean_s))


def claim_size(held: int, target: int, capacity: int) -> int:
    """Return how many to claim now, 0 to wait until a claim is worth its trip.

    Claims come in batches: not before half of what may be held is used up, except that an idle slot
    is filled at once.
    """
    if held >= capacity and held > target // 2:
        return 0
    return max(0, target - held)
