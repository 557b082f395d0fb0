"""The reconcile loop: keeps every program of the configuration as it is wanted, and ends last.

Level-triggered: after each turn of the loop every program's *wanted* is compared with what *is*.
Nothing here blocks; when nothing happens, the loop sleeps until the next timer, for ever if none.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Sequence

from taskd.base import clock, exit_codes, log
from taskd.base.lifecycle import Deadline, Services
from taskd.base.loop import Callback, Loop, Owner
from taskd.base.version import __version__
from taskd.config.schema import Config
from taskd.host import prctl, stacks
from taskd.protocol.status import Trouble
from taskd.supervisor.clock_watch import ClockWatch
from taskd.supervisor.control.about import About
from taskd.supervisor.control.daemon_orders import DaemonOrders
from taskd.supervisor.control.methods import Methods
from taskd.supervisor.control.peers import access
from taskd.supervisor.control.records import Records
from taskd.supervisor.control.server import ControlServer
from taskd.supervisor.control.socket_lock import ControlSocket
from taskd.supervisor.control.standing import Teller
from taskd.supervisor.control.state_file import StateFile, state_path
from taskd.supervisor.deaths.register import Deaths
from taskd.supervisor.model.daemon_end import DaemonEnd
from taskd.supervisor.model.roster import CommandTable, ProgramSpec, commands
from taskd.supervisor.model.signals import STOPS, WATCHED, Haste, dispatch
from taskd.supervisor.output.output import Output
from taskd.supervisor.process.reaper import Reaper
from taskd.supervisor.process.spawn import Process, spawn_command
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.programs.hooks import ProgramHooks
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.revision import Revision
from taskd.supervisor.programs.surroundings import ProgramSurroundings
from taskd.supervisor.reload.reload import Reloader
from taskd.supervisor.scaling.scaler import Scaler
from taskd.supervisor.systemd import Notifier

_log = logging.getLogger(__name__)

# The longest wait for killed processes to vanish at the very end.
_LAST_SWEEP_S = 2.0
_SWEEP_EVERY_S = 0.02
# How long the end of the daemon waits for a slow disk or reader to take the last lines.
_LAST_LINES_S = 1.0

_AFTER_AN_ERROR_S = 1.0
# Changes that follow from one another within one turn; more than that would be a fault, and starve the loop.
_MOST_ROUNDS = 1000


class Supervisor:
    """One running daemon.  For the main thread: signals and the death signal are tied to it."""

    def __init__(self, config: Config, *, table: CommandTable = commands) -> None:
        """Take the control socket.  Raises: ``ControlError`` when another daemon holds it."""
        mode = int(config.control.socket_mode, 8)
        self._socket = ControlSocket(
            config.supervisor.control_socket, mode=mode, group=config.control.socket_group
        )
        self._owner = Owner("nothing but this turn of the daemon's loop", self._look_again)
        self._loop = Loop(self._owner)
        self._dirty = True
        self._shutdown = DaemonEnd()
        self._reaper = Reaper(self._loop)
        self._notifier = Notifier(self._loop)
        self._hooks = ProgramHooks(self._loop, self._reaper, spawn_command)
        self._deaths = Deaths(self._loop, config.supervisor)
        self._output = Output(self._loop, config.log, self._reaper, self._spawn_writer)
        self._fleet = Fleet(self._make, self._wake_at, self._is_spare, self._loop.attempt)
        self._scaler = Scaler(self._loop, self._fleet, self._changed)
        self._scaler.apply(config)
        self._around = ProgramSurroundings(
            self._loop,
            self._reaper,
            self._output,
            self._deaths,
            self._changed,
            self._scaler.hear,
            self._hooks.announce,
        )
        self._reloader = Reloader(
            config, table, self._fleet, begun=self._notifier.reloading, apply_live=self._apply_live
        )
        self._orders = DaemonOrders(
            self._shutdown,
            self._fleet,
            self._reloader,
            self._notifier,
            output=self._output,
            reaper=self._reaper,
            changed=self._changed,
        )
        self._teller = Teller(self._notifier, self._fleet, self._reloader, self._shutdown, self._wake_at)
        self._about = About(
            self._fleet,
            self._reloader,
            self._shutdown,
            self._output,
            ClockWatch(self._loop),
            control_socket=self._socket.path,
            troubles=self._troubles,
        )
        methods = Methods(self._fleet, self._scaler, self._orders, self._about, changed=self._changed)
        self._server = ControlServer(
            self._loop,
            self._socket.socket,
            {**methods.table(), **Records(self._fleet, self._output, self._deaths).table()},
            access=access(config.control),
        )
        self._state_file = StateFile(self._loop, state_path(self._socket.path), self._about.state, mode=mode)
        # The programs live between these two: services that they need end after them, the others before.
        self._below = Services([self._output, self._deaths], self._attempt)
        self._above = Services([self._state_file, self._hooks, self._server], self._attempt)

    def _troubles(self) -> Sequence[Trouble]:
        self._deaths.look()
        return [each for each in (self._deaths.trouble, self._state_file.trouble) if each is not None]

    # -- running -----------------------------------------------------------------------------

    def run(self) -> int:
        """Run until stopped by a signal; return the exit status.  No process is left afterwards."""
        prctl.become_subreaper()
        stacks.write_at(signal.SIGUSR2)
        try:
            self._start()
            while not self._is_over():
                self._loop.attempt(self._turn, self._owner)
                self._loop.run_once()
            return exit_codes.OK
        finally:
            self._end()

    def _start(self) -> None:
        self._below.start()
        self._loop.watch_signals(
            WATCHED, lambda number: dispatch(number, self._orders), owner=self._owner_of_signal
        )
        self._above.start()
        self._fleet.aim(self._reloader.current, reason="taskd started")
        self._fleet.converge()
        _log.info(
            "taskd %s pid=%s config=%s programs=%s control_socket=%s",
            __version__,
            os.getpid(),
            self._reloader.current.config.path or "-",
            len(self._fleet),
            self._socket.path,
        )

    def _turn(self) -> None:
        # At the end the order of the start is reversed: first those that need others.
        later = self._fleet.needed() if self._shutdown.haste is Haste.WARM else ()
        for program in self._fleet:
            if program.spec.group not in later:
                program.reconcile()
        # A change may be the cause of the next: a program that is gone makes room for another.
        for _ in range(_MOST_ROUNDS):
            if not self._dirty:
                return
            self._dirty = False
            if not self._shutdown.is_under_way:
                self._fleet.converge()
                if self._reloader.turn():
                    self._notifier.reloaded()
            self._attempt(self._teller.tell)
            self._state_file.changed()
        self._look_again("the wanted state changes without end")

    def _is_over(self) -> bool:
        alive = self._fleet.alive()
        now = clock.monotonic()
        return self._shutdown.is_over(alive, hooks_idle=self._hooks.idle, now=now)

    def _end(self) -> None:
        """Leave nothing behind, whatever happened before: each step that fails costs none of the others."""
        self._attempt(self._server.kill)
        self._attempt(self._hooks.kill)
        for program in self._fleet:
            self._attempt(program.kill)
        self._attempt(self._sweep)
        self._above.stop(Deadline.after(_LAST_LINES_S))
        self._attempt(self._socket.close)
        _log.info("taskd ended uptime_s=%.0f", self._about.uptime_s)
        self._below.stop(Deadline.after(_LAST_LINES_S))
        self._attempt(self._reloader.close)
        self._loop.close()

    def _sweep(self) -> None:
        deadline = Deadline.after(_LAST_SWEEP_S)
        while (self._reaper.end_orphans() > 0 or self._fleet.alive()) and not deadline.passed:
            self._loop.run_once(_SWEEP_EVERY_S)

    # -- errors of our own -------------------------------------------------------------------

    def _attempt(self, callback: Callback) -> bool:
        return self._loop.attempt(callback, self._owner)

    def _look_again(self, _why: str) -> None:
        """Pay for an error of our own that concerns no program: nothing but a later look."""
        self._dirty = True
        self._wake_at(clock.monotonic() + _AFTER_AN_ERROR_S)

    def _owner_of_signal(self, number: int) -> Owner:
        """A stop that failed is tried once more; any other signal is lost, and that is in the log."""
        name = f"signal {signal.Signals(number).name}"
        again = Owner(name, self._look_again)
        if number not in STOPS:
            return again
        return Owner(name, lambda _why: self._loop.call_soon(lambda: dispatch(number, self._orders), again))

    # -- what the parts need of each other ---------------------------------------------------

    def _changed(self) -> None:
        self._dirty = True

    def _wake_at(self, when: float) -> None:
        self._loop.call_at(when, self._changed, self._owner)

    def _make(self, revision: Revision, group: str, slot: int) -> Program:
        program = revision.program(group, slot, self._around)
        program.gate = lambda: self._fleet.blocker(program)
        return program

    def _spawn_writer(self, spec: ProgramSpec, input_fd: int) -> Process:
        return self._reloader.current.spawn_writer(spec, input_fd)

    def _is_spare(self, program: Program) -> bool:
        return not self._scaler.wants(program)

    def _apply_live(self, config: Config) -> None:
        log.set_level(config.log.level)
        self._scaler.apply(config)
        self._server.give(access(config.control))
