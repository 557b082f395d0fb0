"""One supervised program: carries out what ``machine`` decides for one name of the roster.

The shell between the pure deciders and a real process.  It holds the present process, the timer that
the state waits for, what the program last said about itself, and the reason of all that for
``taskctl status``.  Everything here runs in the loop's thread and nothing blocks.
"""

from __future__ import annotations

import logging
import math
import signal
from collections import deque
from collections.abc import Callable, Mapping

from taskd import clock
from taskd.exhaustive import assert_never
from taskd.loop import Loop, Timer
from taskd.protocol.status import StatusLine
from taskd.supervisor import reaper
from taskd.supervisor.life import NO_LOAD, Life
from taskd.supervisor.machine import MOVES, Effect, Event, State, due, step
from taskd.supervisor.output.output import Output
from taskd.supervisor.reaper import Exit, Reaper
from taskd.supervisor.settings import Settings
from taskd.supervisor.status_pipe import StatusPipe

_log = logging.getLogger(__name__)


class Program:
    """Keeps one program running while it is wanted.

    ``changed`` is called after each change of state, ``heard`` after each line of the program.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        loop: Loop,
        reaper: Reaper,
        output: Output,
        changed: Callable[[], None],
        heard: Callable[[], None],
    ) -> None:
        self.spec = settings.spec
        self.state = State.DOWN
        self.wanted = False
        self.spare = False
        self.reason = "not started yet"
        self.detail = ""
        self.restarts = 0
        #: Ends that nobody asked for; whoever counts them sets it back.
        self.failures = 0
        self._since_at = clock.now()
        self._loop = loop
        self._reaper = reaper
        self._settings = settings
        self._restart = settings.restart
        self._output = output
        self._changed = changed
        self._heard = heard
        self.life: Life | None = None
        self._timer: Timer | None = None
        self._counted = False
        self._events: deque[tuple[Event, str]] = deque()
        self._stepping = False

    # -- what others ask of it ---------------------------------------------------------------

    def want(self, *, wanted: bool, reason: str, spare: bool = False) -> None:
        """Set what is wanted, for ``reconcile``; ``spare`` is what only the load does not need."""
        self.spare = spare
        if wanted:
            self._restart.forgive()
            self.detail = ""
        self.wanted = wanted
        self.reason = reason

    def restart(self, reason: str) -> None:
        """End the present process warmly and start another one without delay."""
        self._restart.forgive()
        self.wanted = True
        self.detail = ""
        self.feed(Event.STOP, reason)

    def poke(self, signum: signal.Signals) -> bool:
        """Send a signal of an operator's choice; False when there is no process."""
        if self.life is not None:
            reaper.send(self.life.process, signum)
        return self.life is not None

    def set_quiet(self, *, quiet: bool, reason: str) -> None:
        """Have the present process take nothing new while it finishes what runs, or take tasks again."""
        if self.life is not None:
            self.life.quiet = quiet
            self.reason = reason
            self._send(signal.SIGTSTP if quiet else signal.SIGCONT)
            self._changed()

    def adopt(self, settings: Settings) -> None:
        """Take new settings over; those of the process itself are in force when it starts again."""
        self.spec = settings.spec
        self._settings = settings
        self._restart.adopt(settings.restart)
        if self.state is State.READY:
            self._await_heartbeat()

    def reconcile(self) -> None:
        """Bring what is nearer to what is wanted; does nothing when nothing can be done now."""
        while event := due(self.state, wanted=self.wanted, outlook=self._restart.outlook(clock.monotonic())):
            self.feed(event, "" if event is Event.STOP else _REASONS.get(event, ""))

    def feed(self, event: Event, reason: str = "") -> None:
        """Let an event act; an empty reason keeps the present one."""
        self._events.append((event, reason))
        if self._stepping:
            return  # an effect of an earlier event caused this one: it comes after it
        self._stepping = True
        try:
            while self._events:
                self._step(*self._events.popleft())
        finally:
            self._stepping = False

    def row(self) -> Mapping[str, object]:
        """Return the row of ``taskctl status``; the keys are part of the control protocol."""
        life = self.life
        return {
            "name": self.spec.name,
            "kind": self.spec.kind,
            "state": self.state.value,
            "wanted": self.wanted,
            "reason": self.reason,
            "since": self._since_at,
            "pid": life.process.pid if life else None,
            "restarts": self.restarts,
            **(life.load_row() if life else NO_LOAD),
            "detail": (life.waiting if life else "") or self.detail,
        }

    # -- events and effects ------------------------------------------------------------------

    def _step(self, event: Event, reason: str) -> None:
        former = self.state
        self.state, effects = step(former, event)
        if reason and (effects or self.state is not former):
            self.reason = reason
        for effect in effects:
            self._carry_out(effect)
        if self.state is not former:
            self._since_at = clock.now()
            _log.debug(
                "program=%s from=%s to=%s reason=%r",
                self.spec.name,
                former.value,
                self.state.value,
                self.reason,
            )
            self._changed()

    def _carry_out(self, effect: Effect) -> None:
        now = clock.monotonic()
        match effect:
            case Effect.SPAWN:
                self._start_process(now)
            case Effect.TERM:
                self._send(signal.SIGTERM)
            case Effect.QUIT:
                self._send(signal.SIGQUIT)
            case Effect.KILL:
                self._send(signal.SIGKILL)
            case Effect.COUNT:
                self._counted = True
                self.failures += 1
                since = self.life.ready_since if self.life else None
                self._restart.count(now, ready_s=None if since is None else now - since)
            case Effect.AWAIT_READY:
                self._await(now + self._settings.limits.start_timeout_s, self._on_start_timeout)
            case Effect.AWAIT_HEARTBEAT:
                self._await_heartbeat()
            case Effect.AWAIT_EXIT:
                self._await(self._settings.stop.until(self.state, now), lambda: self.feed(Event.OVERDUE))
            case Effect.AWAIT_START:
                self._log_delay(now)
                # The timer only wakes the loop: reconcile sees that the time has come.
                self._await(self._restart.not_before, lambda: None)
            case Effect.REST:
                self._await(math.inf, None)
            case _:
                assert_never(effect)

    def _await(self, until: float, callback: Callable[[], None] | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
        timed = callback is not None and until < math.inf
        self._timer = self._loop.call_at(until, callback) if timed and callback else None

    def _send(self, signum: signal.Signals) -> None:
        if self.life is None:
            return
        level = logging.WARNING if signum is signal.SIGKILL else logging.INFO
        name, pid = self.spec.name, self.life.process.pid
        _log.log(level, "program=%s pid=%s sending %s: %s", name, pid, signum.name, self.reason)
        reaper.send(self.life.process, signum)

    # -- the process -------------------------------------------------------------------------

    def _start_process(self, now: float) -> None:
        try:
            process, capture = self._output.start(
                self.spec.name, lambda streams: self._settings.spawn(self.spec, streams)
            )
        except OSError as error:
            self.detail = f"no process could be made: {error}"
            _log.error("program=%s %s", self.spec.name, self.detail)
            self.feed(Event.SPAWN_FAILED, self.detail)
            return
        if self._counted:
            self._counted = False
            self.restarts += 1
        pipe = StatusPipe(self._loop, process.status_fd, self._on_line, self._on_broken)
        self.life = Life(process, pipe, capture, heard=now)
        self._reaper.watch(process, self._on_exit)
        _log.info("program=%s pid=%s started restarts=%s", self.spec.name, process.pid, self.restarts)

    def _on_exit(self, ended: Exit) -> None:
        life = self.life
        assert life is not None, "only a process that was started can end"
        life.capture.close()  # takes the last lines first,
        life.pipe.close()  # and this the last words
        asked = self.state in {State.DRAINING, State.STOPPING}
        if life.words is not None or not asked:
            self.detail = life.detail(ended)
        cause = life.log_end(self.spec.name, ended, asked=asked)
        # The life is still needed by COUNT, which is an effect of this event.
        self.feed(Event.EXITED, "" if asked else f"ended with {cause}")
        self.life = None
        self._changed()

    # -- what the program says ---------------------------------------------------------------

    def _on_line(self, line: StatusLine) -> None:
        if self.life is None:
            return
        event, reason = self.life.hear(line, clock.monotonic())
        self._heard()
        if event is None or event not in MOVES[self.state]:
            return  # a load, or news that change nothing
        if reason != self.reason:
            _log.log(
                logging.WARNING if event is Event.WAITING else logging.INFO,
                "program=%s pid=%s %s",
                self.spec.name,
                self.life.process.pid,
                reason,
            )
        self.feed(event, reason)

    def _on_broken(self, text: str, fatal: bool) -> None:
        _log.warning("program=%s broke the status protocol: %s", self.spec.name, text)
        if fatal:
            self._end_hung(text)

    # -- silence -----------------------------------------------------------------------------

    def _on_start_timeout(self) -> None:
        self._end_hung(f"not ready within {self._settings.limits.start_timeout_s:g} s")

    def _await_heartbeat(self) -> None:
        """Arm the watch at the last sign of life; it looks again when it fires, so that a heartbeat
        costs no timer."""
        if self.life is None:
            return
        silence_s = self._settings.limits.heartbeat_timeout_s or math.inf
        if clock.monotonic() - self.life.heard >= silence_s:
            self._end_hung(f"silent for {silence_s:g} s")
        else:
            self._await(self.life.heard + silence_s, self._await_heartbeat)

    def _end_hung(self, text: str) -> None:
        self.detail = text
        self.feed(Event.HUNG, text)

    def _log_delay(self, now: float) -> None:
        delay_s = self._restart.not_before - now
        if self._restart.tripped:
            _log.error("program=%s died too often: next attempt in %.0f s", self.spec.name, delay_s)
        else:
            _log.info("program=%s next start in %.2f s", self.spec.name, delay_s)


_REASONS = {
    Event.START: "starting",
    Event.TRIP: "died too often; tried again once a minute",
}
