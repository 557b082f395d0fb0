"""How many slots a pool should have at its load.  Pure.

Load is the number of jobs that the pool holds.  It grows at the first look that finds it full, and shrinks by
one slot a look once the load of a whole quiet time would have done with less.  One slot always stays free, so
that a steady load never makes it swing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class SlotBounds:
    """The fewest and the most slots, and how long fewer must have done before one is given up."""

    least: int
    most: int
    quiet_s: float


@dataclass(frozen=True, slots=True)
class Memory:
    """The decider's memory of the past."""

    #: When the current window of ``quiet_s`` began.
    since: float = 0.0
    #: The most slots wanted in the current window.
    peak: int = 0
    #: The most slots wanted in the window before; the pool does not shrink below.
    floor: int = 0


def decide(bounds: SlotBounds, memory: Memory, now: float, held: int, capacity: int) -> tuple[int, Memory]:
    """Return the number of slots from now on, and the memory for the next call.

    ``held``: jobs in the pool, running and waiting; ``capacity``: the slots that it has now.
    """
    # A full pool does not tell how much more there is: what it can not run waits in the broker.
    wanted = max(held + 1, 2 * capacity) if held >= capacity else held + 1
    wanted = min(max(wanted, bounds.least), bounds.most)
    if wanted > capacity:
        return wanted, Memory(now, wanted, bounds.most)
    memory = replace(memory, peak=max(memory.peak, wanted))
    if now - memory.since >= bounds.quiet_s:
        memory = Memory(now, wanted, memory.peak)
    if capacity > max(memory.floor, memory.peak, bounds.least):
        return capacity - 1, memory
    return capacity, memory
