"""One checked configuration as it is handed to programs, and how a program is made from it.

Each reload makes a new revision.  A program keeps the one that it was made from until it is replaced or moved
to a later one.  So settings that were checked together run together, and a program that crashes in the middle
of a reload starts again with those it had.
"""

from __future__ import annotations

import logging
from dataclasses import replace

from taskd.base.errors import ConfigError
from taskd.config.machine import default_user
from taskd.config.schema import Config
from taskd.config.transfer import Handover
from taskd.supervisor.model.roster import CommandTable, ProgramSpec, handed_to, member
from taskd.supervisor.process.spawn import Process, spawn
from taskd.supervisor.process.streams import Streams
from taskd.supervisor.programs.program import Program
from taskd.supervisor.programs.settings import Settings, settings_of
from taskd.supervisor.programs.surroundings import ProgramSurroundings

_log = logging.getLogger(__name__)


class Revision:
    """A configuration, and the descriptors from which its programs read their shares.  Numbered from 1."""

    def __init__(self, number: int, config: Config, table: CommandTable) -> None:
        self.number = number
        self.config = config
        self._table = table
        self._default_user = default_user()
        self._handed: dict[str, Handover] = {}

    def program(self, group: str, slot: int, around: ProgramSurroundings) -> Program:
        """Return a program of this revision; nothing is started yet."""
        return Program(self.settings(group, slot), around)

    def hand_on(self, spec: ProgramSpec, config: Config) -> None:
        """Hand a later configuration to a program of this revision, which is told to look."""
        handed = self._handed.get(spec.name)
        if handed is None:
            return
        try:
            handed.add(handed_to(config, spec.group, default_user=self._default_user))
        except ConfigError as error:
            _log.error("program=%s was not told: %s", spec.name, error)

    def close(self) -> None:
        """Give back the descriptors; no program can be started from this revision any more."""
        for handed in self._handed.values():
            handed.close()
        self._handed.clear()

    def settings(self, group: str, slot: int) -> Settings:
        """Return what this revision says of the program in a slot of a group."""
        spec = member(self.config, group, slot, self._table, default_user=self._default_user)
        return settings_of(self.number, spec, self.config.supervisor, self._spawn)

    def spawn_writer(self, spec: ProgramSpec, input_fd: int) -> Process:
        """Start the writer of log files, which reads ``input_fd``."""
        spec = replace(spec, process=replace(spec.process, user=self._default_user))
        return self._spawn(spec, Streams(input_fd=input_fd))

    def _spawn(self, spec: ProgramSpec, streams: Streams) -> Process:
        if not spec.is_configured:
            return spawn(spec, config_path=self.config.path, streams=streams)
        handed = Handover(handed_to(self.config, spec.group, default_user=self._default_user))
        try:
            process = spawn(spec, config_path=self.config.path, config_fd=handed.fd, streams=streams)
        except OSError:
            handed.close()
            raise
        if former := self._handed.pop(spec.name, None):
            former.close()
        handed.let_go()
        self._handed[spec.name] = handed
        return process
