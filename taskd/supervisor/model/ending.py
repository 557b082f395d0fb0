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
from taskd.supervisor.model.signals import Haste

_log = logging.getLogger(__name__)

#: After the cold step and SIGKILL a process has this time to vanish.
VANISH_S = 10.0


class Leaving(Protocol):
    """A program that still has a process."""

    spec: ProgramSpec
    state: State


@dataclass(slots=True)
class Ending:
    """Asked once a turn; all times are monotonic seconds."""

    _stopping_since: float | None = None

    def is_over(self, haste: Haste | None, alive: Sequence[Leaving], *, hooks_idle: bool, now: float) -> bool:
        """Return whether the daemon may end now; a warm end waits for the hooks, too."""
        if haste is None:
            return False
        if not alive:
            return hooks_idle or haste is not Haste.WARM
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
