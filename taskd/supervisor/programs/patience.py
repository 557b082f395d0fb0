"""The one timer of a program: how long its present state may last, and what follows when it lasts longer."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from taskd.base import clock
from taskd.base.loop import Callback, Loop, LoopTimer, Owner
from taskd.supervisor.programs.life import SilenceLimits


@dataclass(slots=True)
class Patience:
    """Waits for one thing at a time: a new wait ends the former.  All times are monotonic seconds.

    ``ready_after_s``: a start is over after this time (None: when the program says so).
    ``on_hung`` gets in words what took too long; ``on_started`` is called when a start is over by time.
    """

    loop: Loop
    owner: Owner
    limits: SilenceLimits
    ready_after_s: float | None
    on_hung: Callable[[str], None]
    on_started: Callback
    _timer: LoopTimer | None = None

    def for_start(self, now: float) -> None:
        """Wait until a process that has just been made is ready."""
        if self.ready_after_s is not None:
            self.until(now + self.ready_after_s, self.on_started)
        else:
            text = f"not ready within {self.limits.start_timeout_s:g} s"
            self.until(now + self.limits.start_timeout_s, lambda: self.on_hung(text))

    def for_sign_of_life(self, heard: Callable[[], float]) -> None:
        """Wait for signs of life; ``heard`` answers with the time of the last.

        It looks again when the timer fires, so that a heartbeat costs no timer.
        """
        silence_s = self.limits.heartbeat_timeout_s or math.inf
        if clock.monotonic() - heard() >= silence_s:
            self.on_hung(f"silent for {silence_s:g} s")
        else:
            self.until(heard() + silence_s, lambda: self.for_sign_of_life(heard))

    def until(self, until: float, callback: Callback) -> None:
        """Wait until a time; inf is never."""
        self.cancel()
        if until < math.inf:
            self._timer = self.loop.call_at(until, callback, self.owner)

    def cancel(self) -> None:
        """Wait for nothing."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
