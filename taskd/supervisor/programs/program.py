"""One supervised program: carries out what ``machine`` decides for one name of the roster.

The shell between the pure deciders and a real process.  ``starting`` makes the process, ``life`` is what is
known of it, ``dying`` says how it ended; here stand what is wanted, the state, and the reason of both for
``taskctl status``.  Everything here runs in the loop's thread and nothing blocks.
"""

from __future__ import annotations

import logging
import signal
from collections import deque
from collections.abc import Callable

from taskd.base import clock
from taskd.base.exhaustive import assert_never
from taskd.base.loop import Owner
from taskd.protocol.status import Figures, Ready, StatusLine, fields_of
from taskd.supervisor.deaths.certificate import Certificate
from taskd.supervisor.model.machine import ALIVE, MOVES, Effect, LifeEvent, Outlook, State, due, step
from taskd.supervisor.model.roster import WORKER
from taskd.supervisor.model.rows import ProgramRow
from taskd.supervisor.model.waiting import Standing
from taskd.supervisor.process import reaper
from taskd.supervisor.process.reaper import Exit
from taskd.supervisor.programs.dying import Circumstances, certify, detail_of
from taskd.supervisor.programs.hang import HangWatch
from taskd.supervisor.programs.hooks import HookAnnouncer
from taskd.supervisor.programs.life import ProcessLife
from taskd.supervisor.programs.patience import Patience
from taskd.supervisor.programs.settings import Settings
from taskd.supervisor.programs.starting import Starter
from taskd.supervisor.programs.surroundings import ProgramSurroundings

_log = logging.getLogger(__name__)

# After an internal error the loop looks at the program again, though nothing else may happen.
_LOOK_AGAIN_S = 1.0

# Why a program does what is due, in words; a stop keeps the reason of whoever asked for it.
_DUE_BECAUSE = {LifeEvent.START: "starting", LifeEvent.TRIP: "died too often; tried again once a minute"}


class Program:
    """Keeps one program running while it is wanted."""

    def __init__(self, settings: Settings, around: ProgramSurroundings) -> None:
        self.spec = settings.spec
        self.state = State.DOWN
        self._since_at = clock.now()
        self._since = clock.monotonic()
        self.wanted = False
        self._wanted_since = clock.monotonic()
        #: It is not wanted because the load does not need it.
        self.spare = False
        #: It starts in the background until it has been ready once; see ``process.background``.
        self.gives_way = False
        self.reason = "not started yet"
        self.detail = ""
        self.restarts = 0
        #: Ends that nobody asked for; the counter of them sets it back.
        self.failures = 0
        self._around = around
        self._settings = settings
        self._restart = settings.restart
        #: The owner of callbacks that concern this program.
        self.owner = Owner(f"program {self.spec.name}", self._fail)
        self._patience = Patience(
            around.loop,
            self.owner,
            settings.limits,
            self.spec.ready_after_s,
            self._on_hung,
            lambda: self.on_line(Ready()),
        )
        self.watch = HangWatch(self, self._patience, around.changed)
        self._announcer = HookAnnouncer(self.spec, around.announce)
        #: Says in words for which other program this one waits before it starts.
        self.gate: Callable[[], str] = str
        self._starter = Starter(around, self.owner, self)
        #: The present process.
        self.life: ProcessLife | None = None
        #: The present process, or the last one, ended and nobody had asked for it.
        self._counted = False
        self._events: deque[tuple[LifeEvent, str]] = deque()
        self._stepping = False

    # -- what others ask of it ---------------------------------------------------------------

    def want(self, *, wanted: bool, reason: str, spare: bool = False) -> None:
        """Set what is wanted, for ``reconcile``; ``spare`` is what only the load does not need."""
        self.spare = spare
        if wanted:
            self._restart.forgive()
            self.watch.forgive()
            self.detail = ""
        if wanted and not self.wanted:
            self._wanted_since = clock.monotonic()
        self.wanted = wanted
        self.reason = reason

    def want_as_configured(self, reason: str) -> None:
        """Want the program up, unless its table says ``autostart = false``."""
        if self.spec.process.autostart:
            self.want(wanted=True, reason=reason)
        else:
            self.reason = "autostart = false: waits for taskctl start"

    def restart(self, reason: str) -> None:
        """End the present process warmly and start another one without delay."""
        self.want(wanted=True, reason=self.reason, spare=self.spare)
        self.feed(LifeEvent.STOP, reason)

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
            self._around.changed()

    def obey(self, settings: Settings) -> None:
        """Take new settings over; settings of the process itself are in force when it starts again."""
        self.spec = settings.spec
        self._settings = settings
        self._restart.obey(settings.restart)
        self._announcer.spec = self.spec
        self._patience.limits = settings.limits
        self._patience.ready_after_s = self.spec.ready_after_s
        if self.state is State.READY and (life := self.life) is not None:
            self._patience.for_sign_of_life(lambda: life.heard)

    def kill(self) -> None:
        """End the present process at once: the daemon ends."""
        self.feed(LifeEvent.COLD)
        self.feed(LifeEvent.OVERDUE, "taskd ends")

    def close(self) -> None:
        """Give back what outlives its processes: the program is removed."""
        self._starter.close()

    # -- how it stands -----------------------------------------------------------------------

    def standing(self) -> Standing:
        """Return what decides whether others wait for this program."""
        give_up_at = self._wanted_since + self._settings.limits.start_timeout_s
        past = self._restart
        is_worker = self.spec.kind == WORKER
        return Standing(
            self.spec.name, self.state, self.wanted, give_up_at, past.is_done, past.is_over, is_worker
        )

    def row(self) -> ProgramRow:
        """Return the row of ``taskctl status``."""
        life = self.life
        return ProgramRow(
            name=self.spec.name,
            kind=self.spec.kind,
            state=self.state.value,
            wanted=self.wanted,
            spare=self.spare,
            reason=self.reason,
            since=self._since_at,
            for_s=clock.monotonic() - self._since,
            pid=life.process.pid if life else None,
            restarts=self.restarts,
            detail=(life.waiting if life else "") or self.detail,
            alarm=self.watch.alarm,
            troubles=life.load.troubles if life else (),
            revision=self._settings.revision,
            **(fields_of(life.load, Figures) if life else {}),
        )

    # -- from what is to what is wanted ------------------------------------------------------

    def reconcile(self) -> None:
        """Bring what is nearer to what is wanted; does nothing when nothing can be done now."""
        self._around.loop.attempt(self._reconcile, self.owner)

    def _reconcile(self) -> None:
        while event := due(self.state, wanted=self.wanted, outlook=self._outlook()):
            if not self._feed(event, _DUE_BECAUSE.get(event, "")):
                break  # it is looked at again in a while

    def _outlook(self) -> Outlook:
        if not self.wanted or self.state in ALIVE:
            return Outlook.NEVER  # nothing is to be started
        outlook = self._restart.outlook(clock.monotonic())
        reason = self.gate() if outlook is Outlook.NOW else ""
        if not reason:
            return outlook
        if reason != self.reason:
            self.reason = reason
            self._log(logging.INFO, "%s", reason)
            self._around.changed()
        return Outlook.BLOCKED

    # -- events and effects ------------------------------------------------------------------

    def feed(self, event: LifeEvent, reason: str = "") -> None:
        """Let an event act; an empty reason keeps the present one."""
        self._feed(event, reason)

    def _feed(self, event: LifeEvent, reason: str) -> bool:
        """As ``feed``; False when an error of our own ended the program."""
        self._events.append((event, reason))
        if self._stepping:
            return True  # an effect of an earlier event caused this one: it comes after it
        return self._around.loop.attempt(self._step_all, self.owner)

    def _step_all(self) -> None:
        self._stepping = True
        try:
            while self._events:
                self._step(*self._events.popleft())
        finally:
            self._stepping = False

    def _step(self, event: LifeEvent, reason: str) -> None:
        former = self.state
        self.state, effects = step(former, event)
        if reason and (effects or self.state is not former):
            self.reason = reason
        for effect in effects:
            self._carry_out(effect)
        if self.state is not former:
            self._since_at = clock.now()
            self._since = clock.monotonic()
            self._log(logging.DEBUG, "from=%s to=%s reason=%r", former.value, self.state.value, self.reason)
            self._announcer.moved(
                former, self.state, reason=self.reason, restarts=self.restarts, asked=not self._counted
            )
            self._around.changed()

    def _carry_out(self, effect: Effect) -> None:
        now = clock.monotonic()
        match effect:
            case Effect.SPAWN:
                self._start_process()
            case Effect.TERM:
                self._send(self._settings.stop.warm_signal)
            case Effect.QUIT:
                self._send(self._settings.stop.cold_signal)
            case Effect.KILL:
                self._send(signal.SIGKILL)
            case Effect.COUNT:
                self._counted = True
                self.failures += 1
                since = self.life.ready_since if self.life else None
                self._restart.count(now, ready_s=None if since is None else now - since)
            case Effect.AWAIT_READY:
                self._patience.for_start(now)
            case Effect.AWAIT_HEARTBEAT:
                self.gives_way = False
                if (life := self.life) is not None:
                    self._patience.for_sign_of_life(lambda: life.heard)
            case Effect.AWAIT_EXIT:
                until = self._settings.stop.until(self.state, now)
                self._patience.until(until, lambda: self.feed(LifeEvent.OVERDUE))
            case Effect.AWAIT_START:
                level = logging.ERROR if self._restart.tripped else logging.INFO
                self._log(level, "%s", self._restart.in_words(now))
                # The timer only wakes the loop: reconcile sees that the time has come.
                self._patience.until(self._restart.not_before, lambda: None)
            case Effect.REST:
                self._patience.cancel()
            case _:
                assert_never(effect)

    def _send(self, signum: signal.Signals) -> None:
        if self.life is None:
            return
        level = logging.WARNING if signum is signal.SIGKILL else logging.INFO
        self._log(level, "sending %s: %s", signum.name, self.reason)
        reaper.send(self.life.process, signum)

    # -- the process: its start, what it says, its end ---------------------------------------

    def _start_process(self) -> None:
        try:
            life = self._starter.start(self._settings, gives_way=self.gives_way)
        except OSError as error:
            self.detail = f"no process could be made: {error}"
            self._log(logging.ERROR, "%s", self.detail)
            self.feed(LifeEvent.SPAWN_FAILED, self.detail)
            return
        self.life = life
        if self._counted:
            self._counted = False
            self.restarts += 1
        self._starter.follow(life, self._settings.limits.start_timeout_s)
        self._log(logging.INFO, "started restarts=%s", self.restarts)

    def on_line(self, line: StatusLine) -> None:
        """The present process has said this on its status descriptor."""
        if self.life is None:
            return
        event, reason = self.life.hear(line, clock.monotonic())
        self.watch.heard(self.life.load.done)
        self._around.heard()
        if event is None or event not in MOVES[self.state]:
            return  # a load, or news that change nothing
        if reason != self.reason:
            self._log(logging.WARNING if event is LifeEvent.WAITING else logging.INFO, "%s", reason)
        self.feed(event, reason)

    def on_broken(self, text: str, fatal: bool) -> None:
        """The present process has broken the status protocol."""
        self._log(logging.WARNING, "broke the status protocol: %s", text)
        if fatal and self.life is not None:
            self.life.hang = text
            self.detail = text
            self.feed(LifeEvent.HUNG, text)

    def _on_hung(self, text: str) -> None:
        self.watch.on_hung(text)

    def on_exit(self, ended: Exit) -> None:
        """The present process has ended: certify it, count it, and say what follows."""
        life = self.life
        assert life is not None, "only a process that was started can end"
        life.ended = ended
        life.close()
        asked = self.state in {State.DRAINING, State.STOPPING}
        if life.words is not None or life.hang or not asked:
            self.detail = detail_of(life, ended)
        death = self._certify(life, ended, asked=asked)
        # The life is still needed by COUNT, which is an effect of this event.
        self.feed(LifeEvent.EXITED, "" if asked else f"ended with {death.cause}")
        self.life = None
        if self._counted:
            self._restart.ended(code=ended.code)
        if self._restart.is_over and self.wanted:
            self.reason = (
                f"ended with {death.cause}; restart = {self.spec.process.restart}: not started again"
            )
        then = self._restart.in_words(clock.monotonic()) if self.wanted else "stays down"
        self._around.deaths.add(death, decision=then)
        self._around.changed()

    def _certify(self, life: ProcessLife, ended: Exit, *, asked: bool) -> Certificate:
        is_job = not self.spec.is_own and self.spec.process.restart != "always"
        circumstances = Circumstances(self.state.value, self.reason, asked, self.restarts, is_job)
        return certify(life, ended, circumstances, self._around.output.ring(self.spec.name))

    def _fail(self, why: str) -> None:
        """Pay for a callback that failed: the process is killed, certified, and started by its policy."""
        self.detail = why
        self._around.loop.call_later(_LOOK_AGAIN_S, self._around.changed, self.owner)
        life = self.life
        if life is not None and life.ended is None:
            life.hang = life.hang or why
            self._events.append((LifeEvent.HUNG, why))
            try:
                self._step_all()
            finally:
                reaper.send(life.process, signal.SIGKILL)
            return
        # The process is gone, or none was made, and its end was not carried out to the last.
        self.life = None
        if self.state in ALIVE:
            self._events.append((LifeEvent.EXITED, why))
            self._step_all()
            if life is not None and life.ended is not None:
                death = self._certify(life, life.ended, asked=False)
                self._around.deaths.add(death, decision=self._restart.in_words(clock.monotonic()))

    def _log(self, level: int, text: str, *values: object) -> None:
        pid = f" pid={self.life.process.pid}" if self.life else ""
        _log.log(level, f"program=%s%s {text}", self.spec.name, pid, *values)
