"""The things that all programs of a daemon share: their loop, their reaper, and their listeners."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskd.base.loop import Loop
from taskd.supervisor.deaths.register import Deaths
from taskd.supervisor.output.output import Output
from taskd.supervisor.process.reaper import Reaper
from taskd.supervisor.programs.hooks import Occurrence


@dataclass(frozen=True, slots=True)
class ProgramSurroundings:
    """``changed`` is called after each change of state, ``heard`` after each status line.

    ``announce`` gets what an operator may have a hook for.  None of them blocks or raises.
    """

    loop: Loop
    reaper: Reaper
    output: Output
    deaths: Deaths
    changed: Callable[[], None]
    heard: Callable[[], None]
    announce: Callable[[Occurrence], None]
