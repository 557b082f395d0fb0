"""The reconcile loop: keeps every program of the configuration as it is wanted, and ends last.

Level-triggered: after each turn of the loop every program's *wanted* is compared with what *is*.
Nothing here blocks; when nothing happens, the loop sleeps until the next timer, for ever if none.
"""

from __future__ import annotations

import logging
import os

from taskd import clock, exit_codes, prctl
from taskd.config.schema import Config
from taskd.loop import Loop
from taskd.supervisor.control import ControlServer
from taskd.supervisor.fleet import Fleet
from taskd.supervisor.generation import Generation
from taskd.supervisor.machine import Event
from taskd.supervisor.methods import Facts, Methods
from taskd.supervisor.peers import access
from taskd.supervisor.reaper import Reaper
from taskd.supervisor.roster import CommandTable, commands
from taskd.supervisor.scaling.scaler import Scaler
from taskd.supervisor.signals import WATCHED, Haste, dispatch, hastier
from taskd.supervisor.socket_lock import ControlSocket
from taskd.supervisor.state_file import StateFile, state_path
from taskd.supervisor.systemd import Notifier
from taskd.version import __version__

_log = logging.getLogger(__name__)

# The longest wait for killed processes to vanish at the very end.
_LAST_SWEEP_S = 2.0
_SWEEP_EVERY_S = 0.02


class Supervisor:
    """One running daemon.  For the main thread: signals and the death signal are tied to it."""

    def __init__(self, config: Config, *, table: CommandTable = commands) -> None:
        """Take the control socket.  Raises: ``ControlError`` when another daemon holds it."""
        self._started_at = clock.now()
        self._haste: Haste | None = None
        mode = int(config.control.socket_mode, 8)
        self._socket = ControlSocket(
            config.supervisor.control_socket, mode=mode, group=config.control.socket_group
        )
        self._loop = Loop()
        self._reaper = Reaper(self._loop)
        self._notifier = Notifier(self._loop)
        self._dirty = True
        self._generation = Generation(config, table)
        self._fleet = Fleet()
        self._scaler = Scaler(self._loop, self._fleet, self._on_change)
        self._scaler.apply(config)
        for spec in self._generation.specs:
            self._fleet.add(
                self._generation.program(
                    spec,
                    loop=self._loop,
                    reaper=self._reaper,
                    changed=self._on_change,
                    heard=self._scaler.hear,
                )
            )
        methods = Methods(self._fleet, self._scaler, self._facts, self._on_change, self.request_shutdown)
        self._server = ControlServer(
            self._loop, self._socket.socket, methods.table(), access=access(config.control)
        )
        self._state_file = StateFile(self._loop, state_path(self._socket.path), methods.state, mode=mode)

    # -- running -----------------------------------------------------------------------------

    def run(self) -> int:
        """Run until stopped by a signal; return the exit status.  No process is left afterwards."""
        prctl.become_subreaper()
        self._loop.watch_signals(WATCHED, lambda number: dispatch(number, self))
        _log.info(
            "taskd %s pid=%s config=%s programs=%s control_socket=%s",
            __version__,
            os.getpid(),
            self._generation.config.path or "-",
            len(self._fleet),
            self._socket.path,
        )
        for program in self._fleet:
            if self._scaler.wants(program):
                program.want(wanted=True, reason="taskd started")
        try:
            while not self._finished():
                self._turn()
                self._loop.run_once()
            return exit_codes.OK
        finally:
            self._end()

    def _finished(self) -> bool:
        return self._haste is not None and not self._fleet.alive()

    def _turn(self) -> None:
        for program in self._fleet:
            program.reconcile()
        if self._dirty:
            self._dirty = False
            self._tell()
            self._state_file.changed()

    def _tell(self) -> None:
        """Tell systemd how things are."""
        if self._haste is not None:
            left = len(self._fleet.alive())
            self._notifier.status(f"stopping: {left} of {len(self._fleet)} programs are left")
            return
        wanted, ready = self._fleet.wanted(), self._fleet.ready()
        missing = "; ".join(f"{p.spec.name} {p.state.value}: {p.reason}" for p in wanted if p not in ready)
        self._notifier.status(
            f"{len(ready)} of {len(wanted)} programs ready" + (f"; {missing}" if missing else "")
        )
        if len(ready) == len(wanted):
            self._notifier.ready()

    def _end(self) -> None:
        """Leave nothing behind, whatever happened before."""
        self._server.close()
        for program in self._fleet:
            program.feed(Event.COLD)
            program.feed(Event.OVERDUE, "taskd ends")
        deadline = clock.monotonic() + _LAST_SWEEP_S
        while self._left_behind() and clock.monotonic() < deadline:
            self._loop.run_once(_SWEEP_EVERY_S)
        self._state_file.close()
        self._socket.close()
        self._generation.close()
        self._loop.close()
        _log.info("taskd ended uptime_s=%.0f", clock.now() - self._started_at)

    def _left_behind(self) -> bool:
        return self._reaper.end_orphans() > 0 or bool(self._fleet.alive())

    # -- signals -----------------------------------------------------------------------------

    def request_stop(self, *, cold: bool) -> None:
        """Stop everything; a repeated request is more hasty than the one before."""
        self._haste = hastier(self._haste, cold=cold)
        stop_timeout_s = self._generation.config.supervisor.stop_timeout
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

    def on_reload_signal(self) -> None:
        """SIGHUP came."""
        _log.warning("SIGHUP: reloading is not supported yet; restart taskd to apply a changed configuration")

    # -- what others need --------------------------------------------------------------------

    def _on_change(self) -> None:
        self._dirty = True

    def _facts(self) -> Facts:
        return Facts(self._generation.config.path, self._socket.path, self._haste)
