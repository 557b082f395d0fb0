"""Brings a program that starts in the background forward after a time.

See ``taskd.host.priority``.  The program comes forward by itself; this is for one that gets too little of a
busy machine to do so.
"""

from __future__ import annotations

import os
import resource

from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.config.process import ProcessConfig
from taskd.host import priority
from taskd.supervisor.model.roster import ProgramSpec

#: A program may be in the background for this part of its start_timeout.
_SHARE_OF_START = 0.25
_CAP_SYS_NICE = 23


class Background:
    """Ends the background of one process, if it started in it, when it has lasted long enough."""

    def __init__(self, loop: Loop, pid: int, spec: ProgramSpec, start_timeout_s: float, owner: Owner) -> None:
        self._pid = pid
        self._nice = nice_of(spec.process)
        self._timer: LoopTimer | None = None
        if spec.in_background:
            self._timer = loop.call_later(start_timeout_s * _SHARE_OF_START, self._end, owner)

    def _end(self) -> None:
        # The process is not reaped while this is not closed, and it leads a group of its own.
        priority.give(self._pid, self._nice)

    def close(self) -> None:
        """Leave the process alone from now on: it is ready, or gone."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def nice_of(settings: ProcessConfig) -> int:
    """Return the nice value of a program: its table's, else the supervisor's."""
    return os.getpriority(os.PRIO_PROCESS, 0) if settings.nice is None else settings.nice


def step_back(settings: ProcessConfig, variables: dict[str, str], former_uid: int) -> None:
    """Step back in the process that is to be the program, if it and the supervisor can undo that.

    ``former_uid`` is the supervisor's user: of another's processes it may not change the priority.
    """
    nice = nice_of(settings)
    limit = resource.getrlimit(resource.RLIMIT_NICE)[0]
    if os.geteuid() == former_uid and priority.has_way_back(nice, limit=limit, capable=is_capable()):
        variables[priority.NICE_VARIABLE] = str(nice)
        priority.step_back()


def is_capable() -> bool:
    """Return whether this process may set any nice value."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        effective = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) >> _CAP_SYS_NICE & 1)
