"""How much to claim ahead.  Pure: measured run times come in, numbers come out."""

from __future__ import annotations

from taskd.consumer.running.statistics import FLOOR_S

#: "auto" keeps about this much work claimed beyond what runs.
AHEAD_S = 0.1
_SHORTEST_STALL_S = 0.02
#: However short the tasks are, no more than this many are claimed ahead.
MAX_AHEAD = 1024


def target_held(prefetch: int | str, capacity: int, mean_s: float) -> int:
    """Return how many jobs a pool should hold, running and waiting together.

    With ``"auto"``: the running ones plus what the slots do in 100 ms by the measured mean.  While nothing
    was measured it is just the running ones, so that long tasks are never hoarded.
    """
    if not isinstance(prefetch, str):
        return capacity + prefetch
    if mean_s <= 0.0:
        return capacity
    ahead = int(AHEAD_S * capacity / max(mean_s, FLOOR_S))
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
