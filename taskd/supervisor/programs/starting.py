"""Starts the processes of one program, each with its descriptors for output, status and running tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from taskd.base import clock
from taskd.base.loop import Owner
from taskd.protocol.status import StatusLine
from taskd.supervisor.model.roster import WORKER, ProgramSpec
from taskd.supervisor.process.background import Background
from taskd.supervisor.process.legacy import Legacy
from taskd.supervisor.process.reaper import Exit
from taskd.supervisor.process.spawn import Process
from taskd.supervisor.process.status_pipe import StatusPipe
from taskd.supervisor.process.streams import Streams
from taskd.supervisor.programs.life import ProcessLife
from taskd.supervisor.programs.settings import Settings
from taskd.supervisor.programs.surroundings import ProgramSurroundings


class Hearer(Protocol):
    """Hears of the process that was started last, in the loop's thread."""

    def on_line(self, line: StatusLine) -> None:
        """The process has said this on its status descriptor."""

    def on_broken(self, text: str, fatal: bool) -> None:
        """The process has broken the status protocol; ``fatal``: it cannot be listened to any more."""

    def on_exit(self, ended: Exit) -> None:
        """The process has ended."""


class Starter:
    """Makes one process after the other of a program; the legacy of each for the next stays here."""

    def __init__(self, around: ProgramSurroundings, owner: Owner, hearer: Hearer) -> None:
        """``owner`` pays for callbacks that concern a process."""
        self._around = around
        self._owner = owner
        self._hearer = hearer
        self._legacy = Legacy()

    def start(self, settings: Settings, *, gives_way: bool) -> ProcessLife:
        """Start a process; ``gives_way``: in the background until it is ready.  Raises: ``OSError``.

        The caller notes the process, and calls ``follow`` then: its end is heard from there on.
        """
        spec = replace(settings.spec, in_background=gives_way and settings.spec.is_own)
        process, capture = self._around.output.capture(
            spec.name, lambda streams: self._spawn(settings, spec, streams), self._owner
        )
        loop = self._around.loop
        hearer = self._hearer
        pipe = StatusPipe(loop, process.status_fd, hearer.on_line, hearer.on_broken, self._owner)
        return ProcessLife(spec, process, pipe, capture, heard=clock.monotonic())

    def follow(self, life: ProcessLife, start_timeout_s: float) -> None:
        """Hear of the end of a process, and of its children, and let it come to the foreground in time."""
        loop = self._around.loop
        deaths = self._around.deaths
        life.background = Background(loop, life.process.pid, life.spec, start_timeout_s, self._owner)
        life.on_child_died = lambda line: deaths.child_died(life.spec, line)
        self._around.reaper.watch(life.process, self._hearer.on_exit, self._owner)

    def _spawn(self, settings: Settings, spec: ProgramSpec, streams: Streams) -> Process:
        if spec.kind != WORKER:
            return settings.spawn(spec, streams)
        fds = self._legacy.for_next(spec.process.user)
        try:
            return settings.spawn(replace(spec, ledger_fds=fds), streams)
        except OSError:
            self._legacy.take_back()
            raise

    def close(self) -> None:
        """Forget what the last process left: the program is removed."""
        self._legacy.close()
