"""Tells systemd how the daemon stands: ready or not, and in a line what is missing."""

from __future__ import annotations

import math
from collections.abc import Callable

from taskd.base import clock
from taskd.base.plural import counted
from taskd.supervisor.model.daemon_end import DaemonEnd
from taskd.supervisor.model.waiting import is_up, next_look
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.reload.reload import Reloader, ReloadOutcome
from taskd.supervisor.systemd import Notifier


class Teller:
    """Tells systemd after each change."""

    def __init__(
        self,
        notifier: Notifier,
        fleet: Fleet,
        reloader: Reloader,
        shutdown: DaemonEnd,
        wake_at: Callable[[float], None],
    ) -> None:
        """``wake_at`` has ``tell`` called again at a monotonic time."""
        self._notifier = notifier
        self._fleet = fleet
        self._reloader = reloader
        self._shutdown = shutdown
        self._wake_at = wake_at
        self._looks_at = math.inf

    def tell(self) -> None:
        """Tell systemd how things are."""
        if self._shutdown.is_under_way:
            self._notifier.status(f"stopping: {len(self._fleet.alive())} of {len(self._fleet)} left")
            return
        wanted = self._fleet.wanted()
        ready = self._fleet.ready()
        refused = self._reloader.outcome is ReloadOutcome.FAILED
        missing = "; ".join(f"{p.spec.name} {p.state.value}: {p.reason}" for p in wanted if p not in ready)
        alarms = "".join(f"; ALARM {p.spec.name} {p.watch.alarm}" for p in wanted if p.watch.alarm)
        self._notifier.status(
            f"{len(ready)} of {counted(len(wanted), 'program')} ready"
            + alarms
            + (f"; {missing}" if missing else "")
            + (
                f"; reload failed: {self._reloader.reach}: {'; '.join(self._reloader.troubles)}"
                if refused
                else ""
            )
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
