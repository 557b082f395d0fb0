"""The output of all programs: chooses the sink, and keeps a channel for each program."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence

from taskd.base import log
from taskd.base.errors import ControlError
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, Owner
from taskd.config.daemon import LogConfig
from taskd.supervisor.output import journal
from taskd.supervisor.output.capture import Capture
from taskd.supervisor.output.channel import OutputChannel
from taskd.supervisor.output.files import FilesSink, SpawnWriter
from taskd.supervisor.output.guard import GuardedSink
from taskd.supervisor.output.journal import JournalSink
from taskd.supervisor.output.own import NAME, OwnHandler
from taskd.supervisor.output.passthrough import PassThroughSink
from taskd.supervisor.output.ring import Ring
from taskd.supervisor.output.sink import Sink
from taskd.supervisor.process.reaper import Reaper
from taskd.supervisor.process.spawn import Process
from taskd.supervisor.process.streams import Streams

_STDERR = 2


class Output:
    """Created once.  For the loop's thread; nothing blocks but ``stop``.

    From ``start`` to ``stop`` the supervisor's own records go the same way.  With log files they go to the
    journal or to standard error as well, where an operator looks first.
    """

    def __init__(self, loop: Loop, settings: LogConfig, reaper: Reaper, spawn_writer: SpawnWriter) -> None:
        self._loop = loop
        self._settings = settings
        under_systemd = log.is_journal(_STDERR) and journal.is_there()
        as_json = settings.format == "json"
        primary: Sink = (
            JournalSink(loop) if under_systemd else PassThroughSink(loop, _STDERR, as_json=as_json)
        )
        self._sinks = [GuardedSink(primary)]
        self._files: FilesSink | None = None
        if settings.directory:
            self._files = FilesSink(
                loop,
                reaper,
                spawn_writer,
                directory=settings.directory,
                max_bytes=settings.max_bytes,
                backups=settings.backups,
                as_json=as_json,
            )
            self._sinks.append(GuardedSink(self._files))
        self._to_journal = [under_systemd, False][: len(self._sinks)]
        self._channels: dict[str, OutputChannel] = {}
        self._former: list[logging.Handler] | None = None
        self._own: Ring | None = None
        self._life = OneLife()

    def start(self) -> None:
        """Start what writes, and have the supervisor's own records written by it."""
        if not self._life.begin():
            return
        primary, *others = self._sinks
        primary.start()
        root = logging.getLogger()
        self._former = root.handlers[:]
        handlers = [
            OwnHandler(
                sink,
                log.formatter(self._settings.format, NAME, to_journal=to_journal),
                tail_bytes=self._settings.tail,
            )
            for sink, to_journal in zip(self._sinks, self._to_journal, strict=True)
        ]
        self._own = handlers[0].ring
        root.handlers[:] = handlers
        for sink in others:
            sink.start()

    # -- programs ----------------------------------------------------------------------------

    def capture(
        self, program: str, spawn: Callable[[Streams], Process], owner: Owner
    ) -> tuple[Process, Capture]:
        """Start a process by ``spawn`` and read what it writes.  Raises: ``OSError``, as ``spawn`` does."""
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            process = spawn(Streams(output_fd=writing, to_journal=self._to_journal[-1]))
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        return process, Capture(self._loop, reading, self._channel(program), process.pid, owner)

    def _channel(self, program: str) -> OutputChannel:
        channel = self._channels.get(program)
        if channel is None:
            channel = self._channels[program] = OutputChannel(
                program,
                self._sinks[-1],
                tail_bytes=self._settings.tail,
                rate_bytes=self._settings.rate,
                as_json=self._settings.format == "json",
            )
        return channel

    # -- questions ---------------------------------------------------------------------------

    def ring(self, program: str) -> Ring:
        """Return the last lines of a program, or of the daemon itself under the name ``taskd``.

        Raises: ``ControlError`` when nothing was heard of such a program.
        """
        if program == NAME and self._own is not None:
            return self._own
        channel = self._channels.get(program)
        if channel is None:
            raise ControlError(
                f"there is no output of {program!r}; there is that of: {', '.join([*self._channels, NAME])}"
            )
        return channel.ring

    @property
    def names(self) -> Sequence[str]:
        """The programs of which there is output."""
        return list(self._channels)

    @property
    def trouble(self) -> str:
        """The trouble with the log; empty without any."""
        troubles = [self._files.trouble] if self._files is not None else []
        return "; ".join(filter(None, [*troubles, *(sink.trouble for sink in self._sinks)]))

    @property
    def dropped(self) -> int:
        """How many lines were dropped because nobody took them in time."""
        return sum(sink.dropped for sink in self._sinks)

    # -- the whole ---------------------------------------------------------------------------

    def reopen(self) -> None:
        """Open log files by their names, after somebody else has moved them."""
        for sink in self._sinks:
            sink.reopen()

    def quiet(self) -> None:
        """Does nothing: what the last programs say is passed on up to the end."""

    def stop(self, deadline: Deadline) -> None:
        """Pass on what waits, and give the supervisor's records back to the former handlers."""
        if not self._life.has_ended:  # also before the start: then no sink begins any more
            self._life.end()
            self._close(deadline)

    def kill(self) -> None:
        """Drop what waits, and give the supervisor's records back to the former handlers."""
        self.stop(Deadline.after(0.0))

    def _close(self, deadline: Deadline) -> None:
        for sink in reversed(self._sinks):
            sink.stop(deadline)
        if self._former is not None:
            logging.getLogger().handlers[:] = self._former
            self._former = None
