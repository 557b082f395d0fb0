"""One process that has imported an app: beat hears its lines, and tells it which runs were sent."""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from taskd.base import clock
from taskd.base.loop import Loop, LoopTimer
from taskd.config.machine import user_of
from taskd.host.safe_python import module_command
from taskd.protocol.status import SUPERVISOR_PID_VARIABLE

#: More than this waits for no process: it hangs, and is ended.
_MOST_UNSENT = 1 << 20


@dataclass(frozen=True, slots=True)
class AppPlace:
    """Where an app is imported, as its workers import it."""

    app: str
    directory: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)
    interpreter: str = ""
    user: str = ""
    #: The scheduler class of a Celery app, empty to follow the app.
    scheduler: str = ""

    def __str__(self) -> str:
        """Return how people tell it from others."""
        return f"{self.app} in {self.directory}" if self.directory else self.app

    def is_anothers(self) -> bool:
        """Whether its code runs as another user than this process."""
        try:
            return bool(self.user) and user_of(self.user).pw_uid != os.geteuid()
        except KeyError:
            return True


class AppProcess:
    """The process, from its start to its end.  For the loop's thread."""

    def __init__(
        self,
        loop: Loop,
        place: AppPlace,
        *,
        heard: Callable[[bytes], None],
        ended: Callable[[int], None],
        longest_s: float,
    ) -> None:
        """``heard`` gets each line, ``ended`` the exit status; one that is silent for longer is killed."""
        self._loop = loop
        self._heard = heard
        self._ended = ended
        self._longest_s = longest_s
        self._data = bytearray()
        self._unsent = bytearray()
        self.began_at = clock.monotonic()
        self._read_fd, answer_fd = os.pipe2(os.O_CLOEXEC)
        order_fd, self._write_fd = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._read_fd, False)
        os.set_blocking(self._write_fd, False)
        self._pid = _spawn(place, answer_fd, order_fd)
        os.close(answer_fd)
        os.close(order_fd)
        self._silence: LoopTimer = loop.call_later(longest_s, self.kill)
        loop.add_reader(self._read_fd, self._take)

    def tell(self, line: bytes) -> None:
        """Send a line; it waits here while the process is busy."""
        self._unsent += line
        if len(self._unsent) > _MOST_UNSENT:
            self.kill()
        self._flush()

    def kill(self) -> None:
        """Kill the process; its end is heard of as any other."""
        os.kill(self._pid, signal.SIGKILL)

    def leave(self, longest_s: float) -> None:
        """Let the process end by itself when it has heard all lines; blocks for ``longest_s`` at most."""
        self.stop_listening()
        os.close(self._write_fd)
        self._write_fd = -1
        until = clock.monotonic() + longest_s
        while (left_s := until - clock.monotonic()) > 0:
            ready, _, _ = select.select([self._read_fd], [], [], left_s)
            if ready and not os.read(self._read_fd, 1 << 16):
                return

    def end(self) -> int:
        """Forget a process that has closed its end, or was killed, and return its exit status."""
        self._silence.cancel()
        for fd in (self._read_fd, self._write_fd):
            if fd >= 0:
                os.close(fd)
        # Its end of the pipe is closed by its exit, so this waits for no more than that.
        _pid, status = os.waitpid(self._pid, 0)
        return os.waitstatus_to_exitcode(status)

    def stop_listening(self) -> None:
        """Leave the loop."""
        self._loop.remove_reader(self._read_fd)
        self._loop.remove_writer(self._write_fd)

    def _take(self) -> None:
        chunk = os.read(self._read_fd, 1 << 16)
        if not chunk:
            self.stop_listening()
            self._ended(self.end())
            return
        self._silence.cancel()
        self._silence = self._loop.call_later(self._longest_s, self.kill)
        *lines, rest = bytes(self._data + chunk).split(b"\n")
        self._data = bytearray(rest)
        for line in filter(None, lines):
            self._heard(line)

    def _flush(self) -> None:
        was_full = False
        while self._unsent:
            try:
                del self._unsent[: os.write(self._write_fd, self._unsent)]
            except BlockingIOError:
                was_full = True
                break
            except BrokenPipeError:
                self._unsent.clear()  # it ends, which is heard of in a moment
        if was_full:
            self._loop.add_writer(self._write_fd, self._flush)
        else:
            self._loop.remove_writer(self._write_fd)


def _spawn(place: AppPlace, answer_fd: int, order_fd: int) -> int:
    arguments = [place.app, place.scheduler] if place.scheduler else [place.app]
    command = module_command("taskd.execution.declarations", *arguments, python=place.interpreter)
    if place.directory:  # posix_spawn cannot change it
        command = ("/usr/bin/env", "-C", place.directory, *command)
    return os.posix_spawn(
        command[0],
        command,
        {**os.environ, **place.environment, SUPERVISOR_PID_VARIABLE: str(os.getpid())},
        file_actions=[(os.POSIX_SPAWN_DUP2, answer_fd, 1), (os.POSIX_SPAWN_DUP2, order_fd, 0)],
    )
