"""The methods of the control socket: what taskctl can ask of a running daemon."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from taskd import clock
from taskd.errors import ControlError
from taskd.resident import resident_bytes
from taskd.supervisor.control import Method, Params
from taskd.supervisor.fleet import Fleet
from taskd.supervisor.signals import Haste
from taskd.version import __version__

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the daemon says of itself at this moment."""

    config_path: str
    control_socket: str
    haste: Haste | None


class Methods:
    """Answers the control socket; every method returns at once.

    ``changed`` is called when what is wanted has changed.
    """

    def __init__(self, fleet: Fleet, facts: Callable[[], Facts], changed: Callable[[], None]) -> None:
        self._fleet = fleet
        self._facts = facts
        self._changed = changed
        self._started_at = clock.now()

    def table(self) -> Mapping[str, Method]:
        """Return the methods by their names on the wire."""
        return {"status": self._status, "start": self._start, "stop": self._stop, "restart": self._restart}

    def _status(self, _params: Params) -> object:
        return {"taskd": self._own_row(), "programs": self._fleet.rows()}

    def _own_row(self) -> Mapping[str, object]:
        facts = self._facts()
        wanted, ready = len(self._fleet.wanted()), len(self._fleet.ready())
        return {
            "version": __version__,
            "pid": os.getpid(),
            "host": socket.gethostname(),
            "config": facts.config_path,
            "control_socket": facts.control_socket,
            "state": "STOPPING" if facts.haste else "READY" if ready == wanted else "STARTING",
            "since": self._started_at,
            "programs_ready": ready,
            "programs_wanted": wanted,
            "rss_bytes": resident_bytes([os.getpid()]),
        }

    def _start(self, params: Params) -> object:
        return self._command(params, "start")

    def _stop(self, params: Params) -> object:
        return self._command(params, "stop")

    def _restart(self, params: Params) -> object:
        return self._command(params, "restart")

    def _command(self, params: Params, verb: str) -> object:
        """Apply the verb to the programs that ``name`` means, and return their rows as they are then."""
        if self._facts().haste is not None:
            raise ControlError("taskd is stopping; nothing is started or restarted any more")
        chosen = self._fleet.named(params.get("name"))
        for program in chosen:
            reason = f"an operator asked: {verb}"
            _log.info("program=%s %s", program.spec.name, reason)
            if verb == "restart":
                program.restart(reason)
            else:
                program.want(wanted=verb == "start", reason=reason)
            program.reconcile()
        self._changed()
        return {"programs": [program.row() for program in chosen]}
