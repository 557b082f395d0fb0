"""When a program that ended without being asked to may start again.

A pure decider: callers bring the time, nothing here sleeps, logs or signals.  Two brakes work
together.  The *delay* grows exponentially with full jitter from one short life to the next.  The
*budget* is OTP's restart intensity.  More than ``intensity`` ends inside the last ``period_s`` mean that the
fault is not transient, and the program trips.  It is tried once every ``probe_s`` until a life is long
enough, instead of staying dead for ever.

Lives that never became ready (a module that does not import, a wrong setting) are counted apart from lives
that worked.  So a bad deployment does not use up the budget for rare crashes, nor the other way round.

Whether a program is started again at all is its key ``restart``: always, on-failure (unless it ended
with status 0), or never.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field

from taskd.base.backoff import Backoff
from taskd.supervisor.model.machine import Outlook

#: Readiness that lasted this long clears the delay: a crash once an hour is not punished for the last.
STABLE_S = 5.0
#: A tripped program is tried this often.
PROBE_S = 60.0


@dataclass(slots=True)
class _Count:
    """Ends of one kind: those within the period, and how many short lives came in a row."""

    ends: deque[float] = field(default_factory=deque)
    streak: int = 0


@dataclass(slots=True)
class RestartPolicy:
    """Decides the restarts of one program.  All times are monotonic seconds."""

    intensity: int
    period_s: float
    backoff: Backoff
    #: One of ``taskd.config.process.RESTARTS``.
    when: str = "always"
    stable_s: float = STABLE_S
    probe_s: float = PROBE_S
    tripped: bool = False
    #: It has ended, and is not started again but by an operator.
    is_over: bool = False
    #: It has ended with status 0 that way.
    is_done: bool = False
    #: The earliest time of the next start.
    not_before: float = -math.inf
    _boots: _Count = field(default_factory=_Count)
    _crashes: _Count = field(default_factory=_Count)

    def count(self, now: float, *, ready_s: float | None) -> None:
        """Note an end that nobody asked for, after ``ready_s`` of readiness (None: it never was ready)."""
        if ready_s is not None and ready_s >= self.stable_s:
            self.tripped = False
            self._boots.streak = 0
            self._crashes.streak = 0
        self.is_over = self.when == "never"
        kind = self._boots if ready_s is None else self._crashes
        kind.ends.append(now)
        while kind.ends[0] <= now - self.period_s:
            kind.ends.popleft()
        kind.streak += 1
        self.tripped = self.tripped or len(kind.ends) > self.intensity
        self.not_before = now + self._delay_s(kind.streak, was_ready=ready_s is not None)

    def obey(self, other: RestartPolicy) -> None:
        """Go on by the settings of another policy; earlier counts stay."""
        self.intensity = other.intensity
        self.period_s = other.period_s
        self.backoff = other.backoff
        self.when = other.when
        self.stable_s = other.stable_s
        self.probe_s = other.probe_s

    def ended(self, *, code: int | None) -> None:
        """Note the exit status of the life that was counted last; None for an end by a signal."""
        clean = code == 0
        self.is_over = self.when == "never" or (self.when == "on-failure" and clean)
        self.is_done = self.is_over and clean

    def outlook(self, now: float) -> Outlook:
        """Return whether the program may start now."""
        if self.is_over:
            return Outlook.NEVER
        if now >= self.not_before:
            return Outlook.NOW
        return Outlook.TRIPPED if self.tripped else Outlook.LATER

    def in_words(self, now: float) -> str:
        """Return what follows from an end that nobody asked for."""
        if self.is_over:
            return "not started again"
        delay_s = self.not_before - now
        when = f"started again in {delay_s:.2f} s" if delay_s > 0 else "started again at once"
        return f"died too often: {when}" if self.tripped else when

    def forgive(self) -> None:
        """Forget everything: an operator asked for a start."""
        self.tripped = False
        self.is_over = False
        self.is_done = False
        self.not_before = -math.inf
        self._boots = _Count()
        self._crashes = _Count()

    def _delay_s(self, streak: int, *, was_ready: bool) -> float:
        if self.tripped:
            return self.probe_s
        if not was_ready:
            return self.backoff.delay_s(streak)
        # The first crash of a program that worked is most often the end of one process only, and
        # its tasks wait for the successor: no delay.
        return self.backoff.delay_s(streak - 1) if streak > 1 else 0.0
