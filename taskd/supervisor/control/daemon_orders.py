"""Carries out orders to the whole daemon, by a signal or by the control socket: stop, reload, scale."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from taskd.base.errors import ControlError
from taskd.supervisor.model.daemon_end import DaemonEnd
from taskd.supervisor.model.machine import LifeEvent
from taskd.supervisor.model.signals import Haste
from taskd.supervisor.output.output import Output
from taskd.supervisor.process.reaper import Reaper
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.reload.reload import Reloader
from taskd.supervisor.systemd import Notifier

_log = logging.getLogger(__name__)


class DaemonOrders:
    """Says what is wanted from now on; the loop brings it about.  See ``model.signals.Daemon``."""

    def __init__(
        self,
        shutdown: DaemonEnd,
        fleet: Fleet,
        reloader: Reloader,
        notifier: Notifier,
        *,
        output: Output,
        reaper: Reaper,
        changed: Callable[[], None],
    ) -> None:
        """``changed`` is called when what is wanted has changed."""
        self.shutdown = shutdown
        self._fleet = fleet
        self._reloader = reloader
        self._output = output
        self._reaper = reaper
        self._notifier = notifier
        self._changed = changed

    # -- stopping ----------------------------------------------------------------------------

    def request_stop(self, *, cold: bool) -> None:
        """Stop everything; a repeated request is more hasty than the one before."""
        haste = self.shutdown.hasten(cold=cold)
        stop_timeout_s = self._reloader.current.config.supervisor.stop_timeout
        _log.info("stopping how=%s stop_timeout_s=%g", haste.value, stop_timeout_s)
        self._notifier.stopping()
        self._changed()
        for program in self._fleet:
            program.want(wanted=False, reason=f"taskd stops ({haste.value})")
            match haste:
                case Haste.WARM:
                    pass  # reconcile asks each program to stop
                case Haste.COLD:
                    program.feed(LifeEvent.COLD)
                case Haste.KILL:
                    program.feed(LifeEvent.OVERDUE)

    def request_shutdown(self, *, cold: bool) -> None:
        """Stop everything as an operator asked; the same request once more changes nothing."""
        if not self.shutdown.is_under_way or (cold and self.shutdown.haste is Haste.WARM):
            self.request_stop(cold=cold)

    # -- reloading ---------------------------------------------------------------------------

    def reload(self, why: str) -> Mapping[str, object]:
        """Reload; return the plan that is carried out, or every problem.  Raises: ``ControlError``."""
        if self.shutdown.is_under_way:
            raise ControlError("taskd is stopping; nothing is reloaded any more")
        answer = self._reloader.reload(why)
        if not self._reloader.under_way:
            self._notifier.reloaded()  # refused: systemd waits for the end of every reload
        self._changed()
        return answer

    def plan(self) -> Mapping[str, object]:
        """Return what a reload would do now, and do nothing."""
        return self._reloader.plan()

    def on_reload_signal(self) -> None:
        """Reload, unless everything stops anyhow."""
        if not self.shutdown.is_under_way:
            self.reload("SIGHUP")

    # -- the rest ----------------------------------------------------------------------------

    def scale_all(self, by: int) -> None:
        """Add ``by`` programs to each worker, or take them away; at least one stays."""
        if self.shutdown.is_under_way:
            return
        for group in self._fleet.groups():
            count = max(1, group.size.count + by)
            worker = self._reloader.current.config.workers.get(group.name)
            follows_load = worker is None or worker.min_processes > 0
            if not follows_load and count != group.size.count:
                _log.info("group=%s processes=%s by signal", group.name, count)
                group.resize(count, reason=f"scaled to {count} by signal")
        self._changed()

    def on_reopen_signal(self) -> None:
        """SIGUSR1 came: somebody has moved the log files."""
        self._output.reopen()
        _log.info("log files are opened anew")

    def on_child_ended(self) -> None:
        """Some child, perhaps an orphan, has ended."""
        self._reaper.reap_orphans()
