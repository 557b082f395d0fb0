"""The autoscaler's facts about one group of workers: its bounds, and the load that it shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GroupLimits:
    """The limits that the configuration gives one group.

    ``slots``: tasks that one process runs at the same time.  ``latency_s``: a message that arrives now
    should begin within this time.  ``weight``: its share where the machine cannot give everybody enough.
    """

    least: int
    most: int
    latency_s: float
    weight: float
    slots: int


@dataclass(frozen=True, slots=True)
class Load:
    """The present load of a group.

    ``ready``: messages that could run now and wait.  ``busy``: slots at work.  ``service_s``: the mean
    run time of its tasks, 0 when none has run yet.  ``process_bytes``: memory of one process with its
    pool, 0 when unknown.
    """

    ready: int
    busy: int
    service_s: float
    arrivals_per_s: float
    process_bytes: int = 0


@dataclass(frozen=True, slots=True)
class ScaledGroup:
    """One group at the time of a decision.

    ``present`` processes take messages; ``leaving`` ones only finish what they have.  ``load`` is None
    while nothing is known of it (a broker that can not be asked, a first heartbeat that has not come).
    """

    name: str
    bounds: GroupLimits
    load: Load | None
    present: int
    leaving: int = 0


@dataclass(frozen=True, slots=True)
class MachineBudget:
    """The budget of the machine for all scaled groups together; 0 means no limit."""

    processes: int = 0
    memory_bytes: int = 0
