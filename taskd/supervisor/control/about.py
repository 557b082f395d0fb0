"""Everything that ``taskctl status`` shows, as the daemon answers it and leaves it in its state file."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping, Sequence

from taskd.base import clock
from taskd.base.version import __version__
from taskd.host.resident import resident_bytes
from taskd.protocol.status import Trouble
from taskd.supervisor.clock_watch import ClockWatch
from taskd.supervisor.model.daemon_end import DaemonEnd
from taskd.supervisor.model.rows import GroupRow
from taskd.supervisor.output.output import Output
from taskd.supervisor.programs.fleet import Fleet
from taskd.supervisor.reload.reload import Reloader


class About:
    """Reads the parts of the daemon; made when it begins.  The keys are part of the control protocol."""

    def __init__(
        self,
        fleet: Fleet,
        reloader: Reloader,
        shutdown: DaemonEnd,
        output: Output,
        clock_watch: ClockWatch,
        *,
        control_socket: str,
        troubles: Callable[[], Sequence[Trouble]],
    ) -> None:
        """``troubles``: of the daemon itself."""
        self._fleet = fleet
        self._reloader = reloader
        self._shutdown = shutdown
        self._output = output
        self._clock = clock_watch
        self._control_socket = control_socket
        self._troubles = troubles
        self._started_at = clock.now()
        self._began = clock.monotonic()

    @property
    def uptime_s(self) -> float:
        """How long the daemon has run."""
        return clock.monotonic() - self._began

    def state(self) -> Mapping[str, object]:
        """Return everything."""
        groups = {group.name: GroupRow(group.settled, group.trouble) for group in self._fleet.groups()}
        return {"taskd": self.row(), "programs": self._fleet.rows(), "groups": groups}

    def row(self) -> Mapping[str, object]:
        """Return how the daemon itself is."""
        wanted = len(self._fleet.wanted())
        ready = len(self._fleet.ready())
        stops = self._shutdown.is_under_way
        return {
            "version": __version__,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "config": self._reloader.current.config.path,
            "control_socket": self._control_socket,
            "state": "STOPPING" if stops else "READY" if ready == wanted else "STARTING",
            "since": self._started_at,
            "uptime_s": self.uptime_s,
            "clock_jump": self._clock.last,
            "programs_ready": ready,
            "troubles": self._troubles(),
            "log_trouble": self._output.trouble,
            "lines_dropped": self._output.dropped,
            "programs_wanted": wanted,
            "reload": self._reloader.row(),
            "rss_bytes": resident_bytes([os.getpid()]),
        }
