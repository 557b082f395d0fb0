"""One checked configuration as it is handed to programs, and how a program is made from it.

The daemon starts with one generation; a program keeps the generation that it was made from, so what
was checked together runs together.
"""

from __future__ import annotations

import os
from collections.abc import Callable

from taskd.backoff import Backoff
from taskd.config.schema import Config
from taskd.config.transfer import into_descriptor
from taskd.loop import Loop
from taskd.supervisor.life import Limits
from taskd.supervisor.program import Program
from taskd.supervisor.reaper import Reaper
from taskd.supervisor.restart import RestartPolicy
from taskd.supervisor.roster import CommandTable, ProgramSpec, roster
from taskd.supervisor.spawn import Process, spawn
from taskd.supervisor.stopping import StopPolicy


class Generation:
    """A configuration, the descriptor from which its programs read it, and the programs it wants."""

    def __init__(self, config: Config, table: CommandTable) -> None:
        self.config = config
        self.specs = roster(config, table)
        self._config_fd = into_descriptor(config)

    def program(
        self,
        spec: ProgramSpec,
        *,
        loop: Loop,
        reaper: Reaper,
        changed: Callable[[], None],
        heard: Callable[[], None],
    ) -> Program:
        """Return a program of this generation; nothing is started yet."""
        settings = self.config.supervisor
        return Program(
            spec,
            loop=loop,
            reaper=reaper,
            spawn=self._spawn,
            restart=RestartPolicy(
                intensity=settings.restart_intensity,
                period_s=settings.restart_period,
                backoff=Backoff(settings.restart_delay, settings.restart_delay_max),
            ),
            stop=StopPolicy(settings.stop_timeout),
            limits=Limits(settings.start_timeout, 0.0 if spec.is_silent else settings.heartbeat_timeout),
            changed=changed,
            heard=heard,
        )

    def close(self) -> None:
        """Give back the descriptor; no program can be started from this generation any more."""
        os.close(self._config_fd)

    def _spawn(self, spec: ProgramSpec) -> Process:
        return spawn(spec, config_path=self.config.path, config_fd=self._config_fd)
