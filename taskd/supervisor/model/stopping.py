"""How each step of a stop is said and how long it lasts: warm, then cold, then SIGKILL.

The programs of taskd know SIGTERM as warm and SIGQUIT as cold.  To another command the warm step is its
``stop_signal``; it knows no cold one, so the step after it is SIGKILL.
A pure decider.  The steps themselves are rows of ``machine.py``; here stand only their times.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from taskd.supervisor.model.machine import State

#: A cold stop only gives back the program's claims; a program that needs longer is killed.
COLD_S = 2.0


@dataclass(frozen=True, slots=True)
class StopPolicy:
    """``warm_s`` is the time to finish running tasks; ``cold_s`` the time to give back the rest."""

    warm_s: float
    cold_s: float = COLD_S
    warm_signal: signal.Signals = signal.SIGTERM
    cold_signal: signal.Signals = signal.SIGQUIT

    def until(self, state: State, now: float) -> float:
        """Return the monotonic time at which the step that ``state`` stands for is overdue."""
        return now + (self.warm_s if state is State.DRAINING else self.cold_s)
