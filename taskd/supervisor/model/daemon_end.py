"""When the daemon may end: no process is left, or those that are cannot be killed.

A process that hangs in the kernel (state D of ps: a dead disk, a network file system) survives SIGKILL for as
long as it hangs.  Nobody else waits for it, and neither does the end of the daemon, for ever.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from taskd.supervisor.model.machine import State
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.model.signals import Haste, hastier

_log = logging.getLogger(__name__)

#: After the cold step and SIGKILL a process has this time to vanish.
VANISH_S = 10.0


class Leaving(Protocol):
    """A program that still has a process."""

    spec: ProgramSpec
    state: State


@dataclass(slots=True)
class DaemonEnd:
    """How far the end of the daemon is; all times are monotonic seconds."""

    #: How hastily everything stops; None while nothing does.
    haste: Haste | None = None
    _stopping_since: float | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether everything stops."""
        return self.haste is not None

    def hasten(self, *, cold: bool) -> Haste:
        """Begin, or go on more hastily than before; return how."""
        self.haste = hastier(self.haste, cold=cold)
        return self.haste

    def is_over(self, alive: Sequence[Leaving], *, hooks_idle: bool, now: float) -> bool:
        """Return whether the daemon may end now; a warm end waits for the hooks, too.  Asked once a turn."""
        if self.haste is None:
            return False
        if not alive:
            return hooks_idle or self.haste is not Haste.WARM
        if any(each.state is not State.STOPPING for each in alive):
            self._stopping_since = None
            return False
        if self._stopping_since is None:
            self._stopping_since = now
        if now < self._stopping_since + max(each.spec.process.kill_timeout for each in alive) + VANISH_S:
            return False
        stuck = ", ".join(each.spec.name for each in alive)
        _log.error("taskd ends although SIGKILL did not end %s: look for the state D in ps", stuck)
        return True
