"""Rotated files as a sink: lines go to the writer process, which is started anew when it dies."""

from __future__ import annotations

import fcntl
import logging
import os
import signal
from collections.abc import Callable

from taskd.base.backoff import Backoff
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, Owner
from taskd.base.plural import counted
from taskd.host.safe_python import module_command
from taskd.protocol.status import LinesLost, StatusLine, Waiting
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.output import frames
from taskd.supervisor.output.backlog import Backlog
from taskd.supervisor.output.lines import OutputLine, split_priority
from taskd.supervisor.process.reaper import Exit, Reaper, send
from taskd.supervisor.process.spawn import Process
from taskd.supervisor.process.status_pipe import StatusPipe

_log = logging.getLogger(__name__)

#: Starts the writer with this descriptor as its standard input.
SpawnWriter = Callable[[ProgramSpec, int], Process]

_WRITER = "taskd.supervisor.output.writer"
_PIPE_BYTES = 1 << 20
_RESTART = Backoff(0.1, 30.0)


class FilesSink:
    """One file for each program in ``directory``.  Never blocks, whatever the disk does."""

    def __init__(
        self,
        loop: Loop,
        reaper: Reaper,
        spawn: SpawnWriter,
        *,
        directory: str,
        max_bytes: int,
        backups: int,
        as_json: bool = False,
    ) -> None:
        self._loop = loop
        self._reaper = reaper
        self._spawn = spawn
        self._spec = ProgramSpec(
            name="logger",
            kind="logger",
            group="logger",
            command=module_command(
                _WRITER, directory, str(max_bytes), str(backups), "json" if as_json else "text"
            ),
        )
        self._backlog = Backlog()
        self._partial = b""
        self._feed = -1
        self._process: Process | None = None
        self._status: StatusPipe | None = None
        self._deaths = 0
        self._life = OneLife()
        self._owner = Owner("the writer of log files", self._fail)
        self._lost = 0
        #: The trouble with the files, for ``taskctl status``; empty without any.
        self.trouble = ""

    def start(self) -> None:
        """Start the writer; lines written before it runs wait in the pipe."""
        if self._life.begin():
            self._start_writer()

    def quiet(self) -> None:
        """Do nothing: the last lines come until the end."""

    def _start_writer(self) -> None:
        reading, self._feed = os.pipe()
        os.set_blocking(self._feed, False)
        try:
            fcntl.fcntl(self._feed, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
        except OSError:
            pass  # above the user's limit for pipes: a smaller one is enough
        try:
            self._process = self._spawn(self._spec, reading)
        except OSError as error:
            self._lose_writer(f"no process could be made: {error}")
            return
        finally:
            os.close(reading)
        self._status = StatusPipe(self._loop, self._process.status_fd, self._on_line, _ignore, self._owner)
        self._reaper.watch(self._process, self._on_exit, self._owner)
        self._flush()

    @property
    def dropped(self) -> int:
        """How many lines were dropped: the writer did not take them in time, or could not write them."""
        return self._backlog.dropped_total + self._lost

    def write(self, line: OutputLine) -> None:
        """Hand the line over, or keep it."""
        self._push(frames.encode(frames.FrameKind.WRITE, line.program, split_priority(line.text)[1] + b"\n"))

    def reopen(self) -> None:
        """Have the writer open its files by their names."""
        self._push(frames.encode(frames.FrameKind.REOPEN))

    def stop(self, deadline: Deadline) -> None:
        """Wait until the writer has everything and has ended, up to the deadline."""
        if not self._life.end():
            return
        while self._feed >= 0 and (self._partial or len(self._backlog)) and not deadline.passed:
            self._loop.run_once(deadline.remaining_s())
        self._hang_up()
        while self._process is not None and not deadline.passed:
            self._loop.run_once(deadline.remaining_s())
        if self._process is not None:
            send(self._process, signal.SIGKILL)  # the disk hangs; the process that reaps us reaps it

    def kill(self) -> None:
        """End the writer at once: what waits is lost."""
        self.stop(Deadline.after(0.0))

    def _push(self, frame: bytes) -> None:
        self._backlog.add(frame)
        if not self._partial:
            self._flush()

    def _flush(self) -> None:
        if self._feed < 0:
            return
        try:
            while self._partial or len(self._backlog):
                if not self._partial:
                    self._partial = self._backlog.first
                    self._backlog.sent()
                self._partial = self._partial[os.write(self._feed, self._partial) :]
        except BlockingIOError:
            self._loop.add_writer(self._feed, self._flush, self._owner)
            return
        except BrokenPipeError:
            self._hang_up()  # its exit is noticed in a moment
            return
        self._loop.remove_writer(self._feed)
        if dropped := self._backlog.take_dropped():
            _log.warning(
                "log: %s dropped: the disk of the log files is too slow",
                counted(dropped, "line was", "lines were"),
            )

    def _hang_up(self) -> None:
        if self._feed >= 0:
            self._loop.remove_writer(self._feed)
            os.close(self._feed)
            self._feed = -1
        self._partial = b""  # the rest of a frame means nothing to the next writer

    def _on_line(self, line: StatusLine) -> None:
        self._deaths = 0
        if isinstance(line, LinesLost):
            self._lost += max(0, line.lines)
            return
        former, self.trouble = self.trouble, line.reason if isinstance(line, Waiting) else ""
        if self.trouble:
            _log.error("log: %s", self.trouble)
        elif former:
            _log.info("log: files can be written again")

    def _on_exit(self, ended: Exit) -> None:
        if self._status is not None:
            self._status.close()
        self._process = None
        self._hang_up()
        if not self._life.has_ended:
            self._lose_writer(f"it ended: {ended}")

    def _lose_writer(self, text: str) -> None:
        self._hang_up()
        self._deaths += 1
        delay_s = _RESTART.delay_s(self._deaths)
        self.trouble = f"the writer of log files is away: {text}"
        _log.error("log: %s; next start in %.1f s", self.trouble, delay_s)
        self._loop.call_later(delay_s, self._start_again, self._owner)

    def _fail(self, why: str) -> None:
        """Pay for an error of our own: the writer is killed and started anew."""
        self._hang_up()
        if self._process is None:
            self._lose_writer(why)
        else:
            send(self._process, signal.SIGKILL)  # its exit is noticed in a moment

    def _start_again(self) -> None:
        if not self._life.has_ended:
            self._start_writer()


def _ignore(text: str, fatal: bool) -> None:
    """A wrong report of the writer changes nothing."""
