"""The reconcile loop: keeps every program of the configuration as it is wanted, and ends last.

Level-triggered: after each turn of the loop every program's *wanted* is compared with what *is*.
Nothing here blocks; when nothing happens, the loop sleeps until the next timer, for ever if none.
"""

from __future__ import annotations

import faulthandler
import logging
import math
import os
import signal
from collections.abc import Mapping

from taskd.base import clock, exit_codes, log
from taskd.base.errors import ControlError
from taskd.base.loop import Callback, Loop, Owner
from taskd.base.plural import counted
from taskd.base.version import __version__
from taskd.config.schema import Config
from taskd.host import prctl
from taskd.supervisor.clock_watch import ClockWatch
from taskd.supervisor.control.methods import Facts, Methods
from taskd.supervisor.control.peers import access
from taskd.supervisor.control.records import Records
from taskd.supervisor.control.server import ControlServer
from taskd.supervisor.control.socket_lock import ControlSocket
from taskd.supervisor.control.state_file import StateFile, state_path
from taskd.supervisor.deaths.register import Deaths
from taskd.supervisor.model.ending import Ending
from taskd.supervisor.model.machine import Event
from taskd.supervisor.model.roster import CommandTable, ProgramSpec, commands
from taskd.supervisor.model.signals import STOPS, WATCHED, Haste, dispatch, hastier
from taskd.supervisor.model.waiting import is_up, next_look
from taskd.supervisor.output.output import Output
from taskd.supervisor.process.reaper import Reaper
from taskd.supervisor.process.spawn import Process, spawn_command
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.programs.hooks import Hooks
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.revision import Revision
from taskd.supervisor.programs.surroundings import Surroundings
from taskd.supervisor.reload.reload import Outcome, Reloader
from taskd.supervisor.scaling.scaler import Scaler
from taskd.supervisor.systemd import Notifier

_log = logging.getLogger(__name__)

# The longest wait for killed processes to vanish at the very end.
_LAST_SWEEP_S = 2.0
_SWEEP_EVERY_S = 0.02

_AFTER_AN_ERROR_S = 1.0
# Changes that follow from one another within one turn; more than that would be a fault, and starve the loop.
_MOST_ROUNDS = 1000


class Supervisor:
    """One running daemon.  For the main thread: signals and the death signal are tied to it."""

    def __init__(self, config: Config, *, table: CommandTable = commands) -> None:
        """Take the control socket.  Raises: ``ControlError`` when another daemon holds it."""
        self._began = clock.monotonic()
        self._haste: Haste | None = None
        mode = int(config.control.socket_mode, 8)
        self._socket = ControlSocket(
            config.supervisor.control_socket, mode=mode, group=config.control.socket_group
        )
        self._owner = Owner("nothing but this turn of the daemon's loop", self._look_again)
        self._loop = Loop(self._owner)
        self._clock = ClockWatch(self._loop)
        self._reaper = Reaper(self._loop)
        self._notifier = Notifier(self._loop)
        self._ending = Ending()
        self._hooks = Hooks(self._loop, self._reaper, spawn_command)
        self._looks_at = math.inf
        self._dirty = True
        self._deaths = Deaths(self._loop, config.supervisor)
        self._output = Output(self._loop, config.log, self._reaper, self._spawn_writer)
        self._fleet = Fleet(self._make, self._wake_at, self._is_spare, self._loop.attempt)
        self._scaler = Scaler(self._loop, self._fleet, self._on_change)
        self._scaler.apply(config)
        self._around = Surroundings(
            self._loop,
            self._reaper,
            self._output,
            self._deaths,
            self._on_change,
            self._scaler.hear,
            self._hooks.announce,
        )
        self._reloader = Reloader(
            config, table, self._fleet, begun=self._notifier.reloading, apply_live=self._apply_live
        )
        methods = Methods(
            self._fleet,
            self._scaler,
            self._facts,
            self._on_change,
            self.request_shutdown,
            reload=self._reload,
            plan=self._reloader.plan,
        )
        records = Records(self._fleet, self._output, self._deaths)
        self._server = ControlServer(
            self._loop,
            self._socket.socket,
            {**methods.table(), **records.table()},
            access=access(config.control),
        )
        self._state_file = StateFile(self._loop, state_path(self._socket.path), methods.state, mode=mode)

    # -- running -----------------------------------------------------------------------------

    def run(self) -> int:
        """Run until stopped by a signal; return the exit status.  No process is left afterwards."""
        prctl.become_subreaper()
        faulthandler.register(signal.SIGUSR2, all_threads=True)
        self._output.take_over()
        self._loop.watch_signals(WATCHED, lambda number: dispatch(number, self), owner=self._owner_of_signal)
        self._fleet.aim(self._reloader.current, reason="taskd started")
        self._fleet.converge()
        _log.info(
            "taskd %s pid=%s config=%s programs=%s control_socket=%s",
            __version__,
            os.getpid(),
            self._config.path or "-",
            len(self._fleet),
            self._socket.path,
        )
        try:
            while not self._finished():
                self._loop.attempt(self._turn, self._owner)
                self._loop.run_once()
            return exit_codes.OK
        finally:
            self._end()

    def _finished(self) -> bool:
        alive, idle, now = self._fleet.alive(), self._hooks.idle, clock.monotonic()
        return self._ending.is_over(self._haste, alive, hooks_idle=idle, now=now)

    def _turn(self) -> None:
        # At the end the order of the start is reversed: first those that need others.
        later = self._fleet.needed() if self._haste is Haste.WARM else ()
        for program in self._fleet:
            if program.spec.group not in later:
                program.reconcile()
        # A change may be the cause of the next: a program that is gone makes room for another.
        for _ in range(_MOST_ROUNDS):
            if not self._dirty:
                return
            self._dirty = False
            if self._haste is None:
                self._fleet.converge()
                if self._reloader.turn():
                    self._notifier.reloaded()
            self._loop.attempt(self._tell, self._owner)
            self._state_file.changed()
        self._look_again("the wanted state changes without end")

    def _look_again(self, _why: str) -> None:
        """Pay for an error of our own that concerns no program: nothing but a later look."""
        self._dirty = True
        self._wake_at(clock.monotonic() + _AFTER_AN_ERROR_S)

    def _owner_of_signal(self, number: int) -> Owner:
        """A stop that failed is tried once more; any other signal is lost, and that is in the log."""
        name = f"signal {signal.Signals(number).name}"
        if number not in STOPS:
            return Owner(name, self._look_again)
        again = Owner(name, self._look_again)
        return Owner(name, lambda _why: self._loop.call_soon(lambda: dispatch(number, self), again))

    def _tell(self) -> None:
        """Tell systemd how things are."""
        if self._haste is not None:
            self._notifier.status(f"stopping: {len(self._fleet.alive())} of {len(self._fleet)} left")
            return
        wanted, ready = self._fleet.wanted(), self._fleet.ready()
        refused = self._reloader.outcome is Outcome.FAILED
        missing = "; ".join(f"{p.spec.name} {p.state.value}: {p.reason}" for p in wanted if p not in ready)
        alarms = "".join(f"; ALARM {p.spec.name} {p.watch.alarm}" for p in wanted if p.watch.alarm)
        self._notifier.status(
            f"{len(ready)} of {counted(len(wanted), 'program')} ready"
            + alarms
            + (f"; {missing}" if missing else "")
            + (f"; reload failed: {'; '.join(self._reloader.troubles)}" if refused else "")
            + ("; reload under way" if self._reloader.under_way else "")
        )
        self._tell_ready()

    def _tell_ready(self) -> None:
        """Say that the daemon is up, or look again when a program's start has taken too long."""
        now = clock.monotonic()
        standings = self._fleet.standings()
        if is_up(standings, now):
            self._notifier.ready()
        again = next_look(standings, now)
        if again not in {self._looks_at, math.inf}:
            self._wake_at(again)  # programs that wait for others by ``after`` look again then, too
        self._looks_at = again

    def _end(self) -> None:
        """Leave nothing behind, whatever happened before."""
        steps: list[Callback] = [self._server.close, self._hooks.close, *map(_kill, self._fleet), self._sweep]
        steps += [self._state_file.close, self._socket.close, self._say_ended]
        steps += [self._deaths.close, self._output.close, self._reloader.close]
        for step in steps:  # one that fails costs none of the others
            self._loop.attempt(step, self._owner)
        self._loop.close()

    def _sweep(self) -> None:
        deadline = clock.monotonic() + _LAST_SWEEP_S
        while self._left_behind() and clock.monotonic() < deadline:
            self._loop.run_once(_SWEEP_EVERY_S)

    def _say_ended(self) -> None:
        _log.info("taskd ended uptime_s=%.0f", clock.monotonic() - self._began)

    def _left_behind(self) -> bool:
        return self._reaper.end_orphans() > 0 or bool(self._fleet.alive())

    # -- signals -----------------------------------------------------------------------------

    def request_stop(self, *, cold: bool) -> None:
        """Stop everything; a repeated request is more hasty than the one before."""
        self._haste = hastier(self._haste, cold=cold)
        stop_timeout_s = self._config.supervisor.stop_timeout
        _log.info("stopping how=%s stop_timeout_s=%g", self._haste.value, stop_timeout_s)
        self._notifier.stopping()
        self._dirty = True
        for program in self._fleet:
            program.want(wanted=False, reason=f"taskd stops ({self._haste.value})")
            match self._haste:
                case Haste.WARM:
                    pass  # reconcile asks each program to stop
                case Haste.COLD:
                    program.feed(Event.COLD)
                case Haste.KILL:
                    program.feed(Event.OVERDUE)

    def request_shutdown(self, *, cold: bool) -> None:
        """Stop everything as an operator asked; the same request once more changes nothing."""
        if self._haste is None or (cold and self._haste is Haste.WARM):
            self.request_stop(cold=cold)

    def on_child_ended(self) -> None:
        """Some child, perhaps an orphan, has ended."""
        self._reaper.reap_orphans()

    def on_reopen_signal(self) -> None:
        """SIGUSR1 came: somebody has moved the log files."""
        self._output.reopen()
        _log.info("log files are opened anew")

    def on_reload_signal(self) -> None:
        """Reload, unless everything stops anyhow."""
        if self._haste is None:
            self._reload("SIGHUP")

    def scale_all(self, by: int) -> None:
        """Add ``by`` programs to each worker, or take them away; at least one stays."""
        if self._haste is not None:
            return
        for group in self._fleet.groups():
            count = max(1, group.size.count + by)
            worker = self._config.workers.get(group.name)
            follows_load = worker is None or worker.min_processes > 0
            if not follows_load and count != group.size.count:
                _log.info("group=%s processes=%s by signal", group.name, count)
                group.resize(count, reason=f"scaled to {count} by signal")
        self._dirty = True

    # -- what others need --------------------------------------------------------------------

    def _on_change(self) -> None:
        self._dirty = True

    def _facts(self) -> Facts:
        return Facts(
            self._config.path,
            self._socket.path,
            self._haste,
            self._reloader.row(),
            log_trouble=self._output.trouble,
            lines_dropped=self._output.dropped,
            clock_jump=self._clock.last,
        )

    @property
    def _config(self) -> Config:
        return self._reloader.current.config

    def _wake_at(self, when: float) -> None:
        self._loop.call_at(when, self._on_change, self._owner)

    def _make(self, revision: Revision, group: str, slot: int) -> Program:
        program = revision.program(group, slot, self._around)
        program.gate = lambda: self._fleet.blocker(program)
        return program

    def _spawn_writer(self, spec: ProgramSpec, input_fd: int) -> Process:
        return self._reloader.current.spawn_writer(spec, input_fd)

    def _is_spare(self, program: Program) -> bool:
        return not self._scaler.wants(program)

    # -- reload ------------------------------------------------------------------------------

    def _reload(self, why: str) -> Mapping[str, object]:
        if self._haste is not None:
            raise ControlError("taskd is stopping; nothing is reloaded any more")
        answer = self._reloader.reload(why)
        if not self._reloader.under_way:
            self._notifier.reloaded()  # refused: systemd waits for the end of every reload
        self._dirty = True
        return answer

    def _apply_live(self, config: Config) -> None:
        log.set_level(config.log.level)
        self._scaler.apply(config)
        self._server.give(access(config.control))


def _kill(program: Program) -> Callback:
    """Return what ends a program at once."""

    def kill() -> None:
        program.feed(Event.COLD)
        program.feed(Event.OVERDUE, "taskd ends")

    return kill
