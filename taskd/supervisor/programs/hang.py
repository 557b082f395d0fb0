"""The treatment of a program that hangs: its stack first, then the kill; and no kills without end.

A Python program writes its stacks to standard error on SIGUSR2 (``taskd.program.bond``), by faulthandler,
which works even while the interpreter's lock is held.  The stacks are part of its output, so they are in
the log, and from there they come into the death certificate.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable
from typing import Protocol

from taskd.base import clock
from taskd.base.plural import counted
from taskd.supervisor.model.machine import LifeEvent, State
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.process import reaper
from taskd.supervisor.programs.life import ProcessLife
from taskd.supervisor.programs.patience import Patience
from taskd.supervisor.programs.spiral import Spiral

_log = logging.getLogger(__name__)

#: The time of a hung process for writing its stacks before it is killed.
STACK_S = 0.5


class Watched(Protocol):
    """The part of a program that the watch needs."""

    @property
    def life(self) -> ProcessLife | None:
        """Its process, if there is one."""

    @property
    def state(self) -> State:
        """Where it is."""

    @property
    def spec(self) -> ProgramSpec:
        """Its specification."""

    def feed(self, event: LifeEvent, reason: str = "") -> None:
        """Let an event act."""


class HangWatch:
    """Watches the readiness and the heartbeats of one program over all its lives."""

    def __init__(self, program: Watched, patience: Patience, changed: Callable[[], None]) -> None:
        """``changed`` is called when an alarm begins or ends."""
        self._changed = changed
        self._program = program
        self._patience = patience
        self._spiral = Spiral()
        #: Why the program is not killed although it hangs; empty when that is not so.
        self.alarm = ""

    # -- signs of life -----------------------------------------------------------------------

    def heard(self, done: int) -> None:
        """Note that the program has reported, and how many tasks it has finished."""
        if self._spiral.heard(done) and self.alarm:
            _log.warning("program=%s works again; the alarm is over: %s", self._program.spec.name, self.alarm)
            self.alarm = ""
            self._changed()

    def forgive(self) -> None:
        """An operator asked for a start."""
        self._spiral.forgive()
        self.alarm = ""

    # -- the end -----------------------------------------------------------------------------

    def on_hung(self, text: str) -> None:
        """Ask for the stacks and kill then, unless kills have been in vain."""
        program = self._program
        now = clock.monotonic()
        life = program.life
        if life is None:
            return
        limits = self._patience.limits
        if not self._spiral.allows(now, kills=limits.spiral_kills, period_s=limits.spiral_period_s):
            self._raise_alarm(text)
            # Not at once again: the time after which it counts as hung begins anew.
            life.heard = now
            self._look_again(life)
            return
        # Counted now: a program without faulthandler may end by the signal already.
        self._spiral.killed(now)
        life.hang = text
        life.stack_from = life.capture.last_number
        _log.warning(
            "program=%s pid=%s hangs: %s; asking for its stacks", program.spec.name, life.process.pid, text
        )
        reaper.send(life.process, signal.SIGUSR2)
        asked = now
        self._patience.until(now + STACK_S, lambda: self._kill(life, asked))

    def _kill(self, life: ProcessLife, asked: float) -> None:
        program = self._program
        if life.heard > asked and not self._is_starting(life):
            _log.warning("program=%s pid=%s reports again", program.spec.name, life.process.pid)
            life.hang = ""
            self._spiral.spared()
            self._look_again(life)
            return
        program.feed(LifeEvent.HUNG, life.hang)

    def _is_starting(self, life: ProcessLife) -> bool:
        return self._program.state is State.STARTING and not life.waiting

    def _look_again(self, life: ProcessLife) -> None:
        if self._is_starting(life):
            self._patience.for_start(clock.monotonic())
        else:
            self._patience.for_sign_of_life(lambda: life.heard)

    def _raise_alarm(self, text: str) -> None:
        limits = self._patience.limits
        kills = counted(limits.spiral_kills, "kill")
        alarm = (
            f"{text}, and not killed: {kills} within {limits.spiral_period_s:g} s finished no task in between"
        )
        if alarm != self.alarm:
            _log.error(
                "program=%s alarm: %s",
                self._program.spec.name,
                alarm,
                extra={"fields": {"TASKD_ALARM": alarm}},
            )
        self.alarm = alarm
        self._changed()
