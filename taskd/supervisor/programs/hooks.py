"""Commands of the operator that are run when something happened to a program: ``on_ready`` and the others.

They run beside everything else: nothing waits for them but the end of the daemon.  A command that is
late is killed with its process group.  While one runs, the same event of the same program waits, and of
several that wait only the last is kept.  A program that dies in a loop makes no crowd.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from taskd.base import clock
from taskd.base.errors import ProtocolError
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.protocol.status import LastWords, decode_line
from taskd.supervisor.model.machine import ALIVE, State
from taskd.supervisor.model.roster import PROGRAM, ProgramSpec
from taskd.supervisor.process import reaper
from taskd.supervisor.process.reaper import Exit, Reaper
from taskd.supervisor.process.spawn import Process

_log = logging.getLogger(__name__)

#: More do not run at the same time; the others wait.
MAX_RUNNING = 8


class Occasion(Enum):
    """The events for which a command may run; the values are the keys of the configuration."""

    READY = "on_ready"
    EXITED = "on_exited"
    FAILED = "on_failed"
    STOPPED = "on_stopped"


@dataclass(frozen=True, slots=True)
class Occurrence:
    """Something that happened to a program."""

    spec: ProgramSpec
    occasion: Occasion
    state: str
    reason: str
    restarts: int = 0

    @property
    def command(self) -> tuple[str, ...]:
        """The command to run, empty for none."""
        command: tuple[str, ...] = getattr(self.spec.process, self.occasion.value)
        return command

    def hook(self) -> ProgramSpec:
        """Return the command as something that can be started.

        It runs as the daemon does, not as the program: the program's user may be what is wrong.
        """
        return ProgramSpec(
            name=f"{self.spec.name} {self.occasion.value}",
            kind=PROGRAM,
            group=self.spec.group,
            command=self.command,
            environment={
                "TASKD_PROGRAM": self.spec.name,
                "TASKD_GROUP": self.spec.group,
                "TASKD_EVENT": self.occasion.name.lower(),
                "TASKD_STATE": self.state,
                "TASKD_REASON": self.reason,
                "TASKD_RESTARTS": str(self.restarts),
            },
            ready_after_s=0.0,
        )


@dataclass(slots=True)
class HookAnnouncer:
    """Knows which moves of one program from state to state are occasions."""

    spec: ProgramSpec
    announce: Callable[[Occurrence], None]
    _has_failed: bool = False

    def moved(self, former: State, state: State, *, reason: str, restarts: int, asked: bool) -> None:
        """Announce what a move means.  ``asked``: an end that leads to it was wanted."""
        occasion = self._occasion(former, state, asked=asked)
        if occasion is not None:
            self.announce(Occurrence(self.spec, occasion, state.value, reason, restarts))

    def _occasion(self, former: State, state: State, *, asked: bool) -> Occasion | None:
        if state is State.READY:
            self._has_failed = False
            return Occasion.READY
        if state is State.FAILED and not self._has_failed:
            self._has_failed = True  # each probe that fails leads here again
            return Occasion.FAILED
        if state is State.DOWN and former in ALIVE:
            return Occasion.STOPPED if asked else Occasion.EXITED
        return None


_Key = tuple[str, Occasion]


@dataclass(slots=True)
class _Running:
    process: Process
    began: float
    timer: LoopTimer
    is_late: bool = False


@dataclass(slots=True)
class ProgramHooks:
    """Runs the commands.  For the loop's thread; nothing blocks, nothing raises."""

    loop: Loop
    reaper: Reaper
    spawn: Callable[[ProgramSpec], Process]
    _running: dict[_Key, _Running] = field(default_factory=dict)
    _waiting: dict[_Key, Occurrence] = field(default_factory=dict)
    _life: OneLife = field(default_factory=OneLife)

    @property
    def idle(self) -> bool:
        """Whether no command runs or waits to be run."""
        return not self._running and not self._waiting

    def announce(self, occurrence: Occurrence) -> None:
        """Run the command that the program's table has for this, if it has one, now or later."""
        if occurrence.command and self._life.takes:
            self._waiting[occurrence.spec.name, occurrence.occasion] = occurrence
            self._start_waiting()

    def start(self) -> None:
        """Run commands from now on."""
        self._life.begin()

    def quiet(self) -> None:
        """Take no further occurrence; commands that wait are run."""
        self._life.calm()

    def stop(self, deadline: Deadline) -> None:
        """As ``kill``: the daemon has waited for them where it should; see ``idle``."""
        self.kill()

    def kill(self) -> None:
        """Kill what runs and forget what waits."""
        self._life.end()
        self._waiting.clear()
        for key in list(self._running):
            self._kill(key)

    def _start_waiting(self) -> None:
        for key in [key for key in self._waiting if key not in self._running]:
            if len(self._running) >= MAX_RUNNING:
                return
            occurrence = self._waiting.pop(key)
            self.loop.attempt(lambda: self._start(key, occurrence), self._owner(key))  # noqa: B023 - called now

    def _owner(self, key: _Key) -> Owner:
        return Owner(f"hook {key[0]} {key[1].value}", lambda _why: self._give_up(key))

    def _give_up(self, key: _Key) -> None:
        """Kill a command for an error of our own; a command that waits for its place starts."""
        if key in self._running:
            self._kill(key)
        self.loop.call_soon(self._start_waiting, Owner("hooks", lambda _why: None))

    def _kill(self, key: _Key) -> None:
        running = self._running.pop(key)
        running.timer.cancel()
        _kill_group(running.process)
        os.close(running.process.status_fd)

    def _start(self, key: _Key, occurrence: Occurrence) -> None:
        hook = occurrence.hook()
        try:
            process = self.spawn(hook)
        except OSError as error:
            _log.error("hook=%r no process could be made: %s", hook.name, error)
            return
        timeout_s = occurrence.spec.process.hook_timeout
        owner = self._owner(key)
        timer = self.loop.call_later(timeout_s, lambda: self._on_late(key), owner)
        self._running[key] = _Running(process, clock.monotonic(), timer)
        self.reaper.watch(process, lambda ended: self._on_end(key, hook, process, ended), owner)

    def _on_late(self, key: _Key) -> None:
        running = self._running[key]
        running.is_late = True
        _kill_group(running.process)

    def _on_end(self, key: _Key, hook: ProgramSpec, process: Process, ended: Exit) -> None:
        if key not in self._running or self._running[key].process is not process:
            return  # given up
        running = self._running.pop(key)
        running.timer.cancel()
        words = _last_words(running.process)
        took_s = clock.monotonic() - running.began
        if running.is_late:
            _log.error("hook=%r was killed: it took longer than hook_timeout, %.1f s", hook.name, took_s)
        elif ended.code == 0:
            _log.info("hook=%r succeeded took_s=%.2f", hook.name, took_s)
        else:
            _log.error("hook=%r failed: %s took_s=%.2f", hook.name, words or ended, took_s)
        self._start_waiting()


def _kill_group(process: Process) -> None:
    # The leader is not reaped yet, so that neither its pid nor its group can belong to another.
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass  # it has not begun its session yet, or only its zombie is left
    reaper.send(process, signal.SIGKILL)


def _last_words(process: Process) -> str:
    """Return why the command could not be started, empty if it was; closes the descriptor."""
    try:
        data = os.read(process.status_fd, 1 << 16)
        line = decode_line(data.rstrip(b"\n")) if data else None
    except (BlockingIOError, ProtocolError):
        line = None
    finally:
        os.close(process.status_fd)
    return line.reason if isinstance(line, LastWords) else ""
