"""One checked configuration as it is handed to programs, and how a program is made from it.

Each reload makes a new generation.  A program keeps the one that it was made from until it is
replaced or adopted, so what was checked together runs together, and a program that crashes in the
middle of a reload starts again with what it had.
"""

from __future__ import annotations

import os

from taskd.config.schema import Config
from taskd.config.transfer import append, into_descriptor
from taskd.supervisor.output.streams import Streams
from taskd.supervisor.process.spawn import Process, spawn
from taskd.supervisor.program import Program
from taskd.supervisor.roster import CommandTable, ProgramSpec, member
from taskd.supervisor.settings import Settings, settings
from taskd.supervisor.surroundings import Surroundings


class Generation:
    """A configuration, and the descriptor from which its programs read it.  Numbered from 1."""

    def __init__(self, number: int, config: Config, table: CommandTable) -> None:
        self.number = number
        self.config = config
        self._table = table
        self._config_fd = into_descriptor(config)

    def program(self, group: str, slot: int, around: Surroundings) -> Program:
        """Return a program of this generation; nothing is started yet."""
        return Program(self._settings(group, slot), around)

    def adopt(self, program: Program, group: str, slot: int) -> None:
        """Make a program, running or not, one of this generation; its process is not touched."""
        program.adopt(self._settings(group, slot))

    def add(self, config: Config) -> None:
        """Hand a later configuration to the processes of this generation that are told to look."""
        append(self._config_fd, config)

    def close(self) -> None:
        """Give back the descriptor; no program can be started from this generation any more."""
        os.close(self._config_fd)

    def _settings(self, group: str, slot: int) -> Settings:
        spec = member(self.config, group, slot, self._table)
        return settings(spec, self.config.supervisor, self._spawn)

    def spawn_writer(self, spec: ProgramSpec, input_fd: int) -> Process:
        """Start the writer of log files, which reads ``input_fd``."""
        return self._spawn(spec, Streams(input_fd=input_fd))

    def _spawn(self, spec: ProgramSpec, streams: Streams) -> Process:
        return spawn(spec, config_path=self.config.path, config_fd=self._config_fd, streams=streams)
