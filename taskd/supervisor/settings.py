"""What one generation of the configuration says about one program."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskd.supervisor.life import Limits
from taskd.supervisor.output.streams import Streams
from taskd.supervisor.restart import RestartPolicy
from taskd.supervisor.roster import ProgramSpec
from taskd.supervisor.spawn import Process
from taskd.supervisor.stopping import StopPolicy


@dataclass(frozen=True, slots=True)
class Settings:
    """``spec`` and ``spawn`` are for its next start, the others are in force at once."""

    spec: ProgramSpec
    spawn: Callable[[ProgramSpec, Streams], Process]
    restart: RestartPolicy
    stop: StopPolicy
    limits: Limits
