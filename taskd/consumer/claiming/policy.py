"""The deciders on whether a task may run here now, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

from taskd.consumer.claiming.rate_limits import RateLimits
from taskd.consumer.claiming.suspects import Suspects
from taskd.consumer.running.revoked_tasks import RevokedTasks


@dataclass(frozen=True, slots=True)
class Policy:
    """The deciders of one worker; each has its own state, which outlives a lost broker."""

    revoked: RevokedTasks
    rates: RateLimits
    #: Tasks that the former process of this worker may have died of.
    suspects: Suspects
    #: Soft and hard limits in seconds that an operator put in the place of a task's own.
    time_limits: dict[str, tuple[float, float]] = field(default_factory=dict)
