"""The reconcile loop: keeps every program of the configuration as it is wanted, and ends last.

Level-triggered: after each turn of the loop every program's *wanted* is compared with what *is*.
Nothing here blocks; when nothing happens, the loop sleeps until the next timer, for ever if none.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Mapping

from taskd import clock, exit_codes, prctl
from taskd.backoff import Backoff
from taskd.config.schema import Config
from taskd.config.transfer import into_descriptor
from taskd.errors import ControlError
from taskd.loop import Loop
from taskd.resident import resident_bytes
from taskd.supervisor.control import ControlServer, Params
from taskd.supervisor.life import Limits
from taskd.supervisor.machine import ALIVE, Event, State
from taskd.supervisor.program import Program
from taskd.supervisor.reaper import Reaper
from taskd.supervisor.restart import RestartPolicy
from taskd.supervisor.roster import CommandTable, ProgramSpec, commands, roster
from taskd.supervisor.signals import WATCHED, Haste, dispatch, hastier
from taskd.supervisor.socket_lock import ControlSocket
from taskd.supervisor.spawn import Process, spawn
from taskd.supervisor.stopping import StopPolicy
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
        self._config = config
        self._started_at = clock.now()
        self._haste: Haste | None = None
        self._socket = ControlSocket(config.supervisor.control_socket)
        self._loop = Loop()
        self._reaper = Reaper(self._loop)
        self._notifier = Notifier(self._loop)
        self._config_fd = into_descriptor(config)
        self._dirty = True
        self._programs = {spec.name: self._program(spec) for spec in roster(config, table)}
        methods = {"status": self._status, "start": self._start, "stop": self._stop, "restart": self._restart}
        self._server = ControlServer(self._loop, self._socket.socket, methods)

    def _program(self, spec: ProgramSpec) -> Program:
        settings = self._config.supervisor
        return Program(
            spec,
            loop=self._loop,
            reaper=self._reaper,
            spawn=self._spawn,
            restart=RestartPolicy(
                intensity=settings.restart_intensity,
                period_s=settings.restart_period,
                backoff=Backoff(settings.restart_delay, settings.restart_delay_max),
            ),
            stop=StopPolicy(settings.stop_timeout),
            limits=Limits(settings.start_timeout, 0.0 if spec.is_silent else settings.heartbeat_timeout),
            changed=self._on_change,
        )

    def _spawn(self, spec: ProgramSpec) -> Process:
        return spawn(spec, config_path=self._config.path, config_fd=self._config_fd)

    # -- running -----------------------------------------------------------------------------

    def run(self) -> int:
        """Run until stopped by a signal; return the exit status.  No process is left afterwards."""
        prctl.become_subreaper()
        self._loop.watch_signals(WATCHED, lambda number: dispatch(number, self))
        _log.info(
            "taskd %s pid=%s config=%s programs=%s control_socket=%s",
            __version__,
            os.getpid(),
            self._config.path or "-",
            len(self._programs),
            self._socket.path,
        )
        for program in self._programs.values():
            program.want(wanted=True, reason="taskd started")
        try:
            while not self._finished():
                self._turn()
                self._loop.run_once()
            return exit_codes.OK
        finally:
            self._end()

    def _finished(self) -> bool:
        return self._haste is not None and not any(p.state in ALIVE for p in self._programs.values())

    def _turn(self) -> None:
        for program in self._programs.values():
            program.reconcile()
        if self._dirty:
            self._dirty = False
            self._tell()

    def _tell(self) -> None:
        """Tell systemd how things are."""
        programs = self._programs.values()
        if self._haste is not None:
            left = sum(program.state in ALIVE for program in programs)
            self._notifier.status(f"stopping: {left} of {len(programs)} programs are left")
            return
        wanted = [program for program in programs if program.wanted]
        ready = [program for program in wanted if program.state is State.READY]
        missing = "; ".join(f"{p.spec.name} {p.state.value}: {p.reason}" for p in wanted if p not in ready)
        self._notifier.status(
            f"{len(ready)} of {len(wanted)} programs ready" + (f"; {missing}" if missing else "")
        )
        if len(ready) == len(wanted):
            self._notifier.ready()

    def _end(self) -> None:
        """Leave nothing behind, whatever happened before."""
        self._server.close()
        for program in self._programs.values():
            program.feed(Event.COLD)
            program.feed(Event.OVERDUE, "taskd ends")
        deadline = clock.monotonic() + _LAST_SWEEP_S
        while self._left_behind() and clock.monotonic() < deadline:
            self._loop.run_once(_SWEEP_EVERY_S)
        self._socket.close()
        os.close(self._config_fd)
        self._loop.close()
        _log.info("taskd ended uptime_s=%.0f", clock.now() - self._started_at)

    def _left_behind(self) -> bool:
        alive = any(program.state in ALIVE for program in self._programs.values())
        return self._reaper.end_orphans() > 0 or alive

    # -- signals -----------------------------------------------------------------------------

    def request_stop(self, *, cold: bool) -> None:
        """Stop everything; a repeated request is more hasty than the one before."""
        self._haste = hastier(self._haste, cold=cold)
        _log.info(
            "stopping how=%s stop_timeout_s=%g", self._haste.value, self._config.supervisor.stop_timeout
        )
        self._notifier.stopping()
        self._dirty = True
        for program in self._programs.values():
            program.want(wanted=False, reason=f"taskd stops ({self._haste.value})")
            match self._haste:
                case Haste.WARM:
                    pass  # reconcile asks each program to stop
                case Haste.COLD:
                    program.feed(Event.COLD)
                case Haste.KILL:
                    program.feed(Event.OVERDUE)

    def on_child_ended(self) -> None:
        """Some child, perhaps an orphan, has ended."""
        self._reaper.reap_orphans()

    def on_reload_signal(self) -> None:
        """SIGHUP came."""
        _log.warning("SIGHUP: reloading is not supported yet; restart taskd to apply a changed configuration")

    def _on_change(self) -> None:
        self._dirty = True

    # -- control methods ---------------------------------------------------------------------

    def _status(self, _params: Params) -> object:
        return {"taskd": self._own_row(), "programs": [program.row() for program in self._programs.values()]}

    def _own_row(self) -> Mapping[str, object]:
        wanted = [program for program in self._programs.values() if program.wanted]
        ready = sum(program.state is State.READY for program in wanted)
        state = "STOPPING" if self._haste else "READY" if ready == len(wanted) else "STARTING"
        return {
            "version": __version__,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "config": self._config.path,
            "control_socket": self._socket.path,
            "state": state,
            "since": self._started_at,
            "programs_ready": ready,
            "programs_wanted": len(wanted),
            "rss_bytes": resident_bytes([os.getpid()]),
        }

    def _start(self, params: Params) -> object:
        return self._command(params, "start")

    def _stop(self, params: Params) -> object:
        return self._command(params, "stop")

    def _restart(self, params: Params) -> object:
        return self._command(params, "restart")

    def _command(self, params: Params, verb: str) -> object:
        """Apply the verb to the programs that ``name`` means, and return their rows as they are then.

        ``name`` is a program (``mail-1``) or a table of the configuration (``mail``: all of its programs).
        """
        if self._haste is not None:
            raise ControlError("taskd is stopping; nothing is started or restarted any more")
        name = params.get("name")
        chosen = [p for p in self._programs.values() if name in {p.spec.name, p.spec.group}]
        if not chosen:
            raise ControlError(f"no program {name!r}; there are: {', '.join(self._programs) or 'none'}")
        for program in chosen:
            reason = f"an operator asked: {verb}"
            _log.info("program=%s %s", program.spec.name, reason)
            if verb == "restart":
                program.restart(reason)
            else:
                program.want(wanted=verb == "start", reason=reason)
            program.reconcile()
        self._dirty = True
        return {"programs": [program.row() for program in chosen]}
