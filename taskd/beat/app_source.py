"""Learn what the apps' code declares: each app is imported once, in a process of its own, while beat works.

Beat imports an app only where it has the user of the app's workers: else their code would run as beat's user,
or they would have to let that one read it.

An app that cannot be imported is an error in the log, and is tried again every ``AGAIN_S``: what the others
declare, and the other sources, are not held up by it.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, LoopTimer
from taskd.base.nearest import nearest
from taskd.beat.stores.base import Declared
from taskd.config.machine import user_of
from taskd.config.schedule import BeatEntryConfig
from taskd.config.schema import Config
from taskd.host.safe_python import module_command
from taskd.protocol.status import SUPERVISOR_PID_VARIABLE

AGAIN_S = 60.0
#: An import that takes longer hangs.
LONGEST_S = 60.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AppPlace:
    """Where an app is imported, as its workers import it."""

    app: str
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    interpreter: str = ""
    user: str = ""

    def is_anothers(self) -> bool:
        """Whether its code runs as another user than this process."""
        try:
            return bool(self.user) and user_of(self.user).pw_uid != os.geteuid()
        except KeyError:
            return True


def places_of(config: Config) -> list[AppPlace]:
    """Return the apps of all workers, each once."""
    found: list[AppPlace] = []
    for worker in config.workers.values():
        app = worker.app or config.app
        place = AppPlace(app, worker.directory, worker.environment, worker.interpreter, worker.user)
        if place not in found:
            found.append(place)
    return found


@dataclass(slots=True)
class _Reading:
    pid: int
    fd: int
    too_late: LoopTimer
    data: bytearray = field(default_factory=bytearray)


class AppSource:
    """Reads the apps at some places and tells of all that it knows whenever that has changed."""

    def __init__(
        self,
        loop: Loop,
        places: Sequence[AppPlace],
        learned: Callable[[Declared], None],
        *,
        again_s: float = AGAIN_S,
        longest_s: float = LONGEST_S,
    ) -> None:
        self._loop = loop
        self._places = places
        self._learned = learned
        self._again_s = again_s
        self._longest_s = longest_s
        self._life = OneLife()
        self._readings: dict[int, _Reading] = {}
        self._timers: dict[int, LoopTimer] = {}
        self._known: dict[int, Declared] = {}

    def start(self) -> None:
        """Begin to read every app; returns at once."""
        if not self._life.begin():
            return
        for number in range(len(self._places)):
            self._read(number)

    def quiet(self) -> None:
        """Begin no further reading, and finish the present ones."""
        self._life.calm()
        for timer in self._timers.values():
            timer.cancel()

    def stop(self, deadline: Deadline) -> None:
        """As ``kill``: half of an app's entries is of no use."""
        self.kill()

    def kill(self) -> None:
        """End the readings under way."""
        self._life.end()
        for timer in self._timers.values():
            timer.cancel()
        for number, reading in list(self._readings.items()):
            os.kill(reading.pid, signal.SIGKILL)
            self._end(number)

    def _read(self, number: int) -> None:
        if not self._life.takes:
            return
        place = self._places[number]
        if place.is_anothers():
            # Without it the names of all tasks are not known, so nobody is warned of unknown ones.
            logger.warning(
                'the entries of app %s are not read: its worker runs as "%s", but beat does not; put them '
                "into [beat.schedule], or give [beat] the same user",
                place.app,
                place.user,
            )
            return
        read_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write_fd, True)
        command = module_command("taskd.execution.declarations", place.app, python=place.interpreter)
        if place.directory:  # posix_spawn cannot change it
            command = ("/usr/bin/env", "-C", place.directory, *command)
        pid = os.posix_spawn(
            command[0],
            command,
            {**os.environ, **place.environment, SUPERVISOR_PID_VARIABLE: str(os.getpid())},
            file_actions=[(os.POSIX_SPAWN_DUP2, write_fd, 1)],
        )
        os.close(write_fd)
        too_late = self._loop.call_later(self._longest_s, lambda: os.kill(pid, signal.SIGKILL))
        self._readings[number] = _Reading(pid, read_fd, too_late)
        self._loop.add_reader(read_fd, lambda: self._take(number))

    def _take(self, number: int) -> None:
        reading = self._readings[number]
        if chunk := os.read(reading.fd, 1 << 16):
            reading.data += chunk
            return
        status = self._end(number)
        try:
            if status != 0:
                raise ValueError(f"its process ended with status {status}; the log above says why")
            self._known[number] = msgspec.json.decode(reading.data, type=Declared)
        except ValueError as error:
            logger.error(
                "the entries of app %s are not known, next try in %g s: %s",
                self._places[number].app,
                self._again_s,
                error,
            )
            self._timers[number] = self._loop.call_later(self._again_s, lambda: self._read(number))
            return
        self._learned(self._all())

    def _all(self) -> Declared:
        entries = {name: entry for known in self._known.values() for name, entry in known.entries.items()}
        if len(self._known) < len(self._places):
            return Declared(entries)  # half of the names would make the other half look wrong
        return Declared(entries, frozenset().union(*(known.tasks for known in self._known.values())))

    def _end(self, number: int) -> int:
        """Forget a reading that has closed its end, or was killed, and return its exit status."""
        reading = self._readings.pop(number)
        reading.too_late.cancel()
        self._loop.remove_reader(reading.fd)
        os.close(reading.fd)
        # Its end of the pipe is closed by its exit, so this waits for no more than that.
        _pid, status = os.waitpid(reading.pid, 0)
        return os.waitstatus_to_exitcode(status)


def warn_of_unknown_tasks(entries: Iterable[BeatEntryConfig], tasks: Collection[str]) -> None:
    """Log the entries whose task no app has, with the nearest name; no names at all mean not known."""
    for entry in entries if tasks else ():
        if entry.task not in tasks:
            hint = nearest(entry.task, tasks)
            suffix = f'; did you mean "{hint}"?' if hint else ""
            logger.warning('no app has the task entry=%s task="%s"%s', entry.name, entry.task, suffix)
