"""The daemon's own standard error as a sink: a terminal, a pipe, a file.

The descriptor is shared with whoever started the daemon, so it must not be made non-blocking: a shell's
terminal would become so too.  A pipe or a terminal is opened anew through /proc instead, which gives a
description of our own; where that is not possible, nothing is written without asking poll first.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable

from taskd.base import clock
from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, Owner
from taskd.base.plural import counted
from taskd.supervisor.output.backlog import Backlog
from taskd.supervisor.output.lines import OutputLine
from taskd.supervisor.output.records import notice

_AGAIN_S = 0.1
_WARNING = 4
# A pipe that poll calls writable takes so much without blocking (pipe(7)).
_POLLED_BYTES = select.PIPE_BUF


class PassThroughSink:
    """Writes each line as it came."""

    def __init__(self, loop: Loop, fd: int, *, as_json: bool = False) -> None:
        """``as_json``: what the sink itself has to say is a JSON object, too."""
        self._loop = loop
        self._fd = fd
        self._as_json = as_json
        self._life = OneLife()
        self._backlog = Backlog()
        #: The rest of a message that was written in part.
        self._partial = b""
        self._waiting = False
        self._own_fd = -1
        self._write_some: Callable[[bytes], int] = _refuse

    def start(self) -> None:
        """Open the descriptor anew, where that is possible."""
        if self._life.begin():
            self._own_fd, self._write_some = _writer(self._fd)

    def quiet(self) -> None:
        """Do nothing: the last lines come until the end."""

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return self._backlog.dropped_total

    def write(self, line: OutputLine) -> None:
        """Write the line, or keep it."""
        if self._life.has_ended:
            self._backlog.lose()
            return
        message = line.text + b"\n"
        if not self._waiting and self._take(message):
            return
        if self._waiting:
            self._backlog.add(message)
        else:
            self._await()

    def reopen(self) -> None:
        """Do nothing: who started the daemon has opened it."""

    def stop(self, deadline: Deadline) -> None:
        """Write what waits if the other side is ready by the deadline, and close."""
        if self._own_fd >= 0 and self._waiting:
            while not self._flush() and _writable(self._own_fd, deadline.until - clock.monotonic()):
                pass
        self.kill()

    def kill(self) -> None:
        """Close: what waits is lost."""
        self._life.end()
        self._waiting = False
        self._write_some = _refuse
        if self._own_fd >= 0:
            os.close(self._own_fd)
            self._own_fd = -1

    def _await(self) -> None:
        """Try again soon: a file or a null device cannot be waited for."""
        self._waiting = True
        self._loop.call_later(_AGAIN_S, self._retry, Owner("the sink of standard error", self._fail))

    def _fail(self, _why: str) -> None:
        """Pay for an error of our own: what is next was taken out already and is lost; the rest is tried."""
        self._backlog.lose()
        self._await()

    def _retry(self) -> None:
        if self._waiting:
            self._waiting = False
            if not self._flush():
                self._await()

    def _flush(self) -> bool:
        if self._partial:
            partial, self._partial = self._partial, b""
            if not self._take(partial):
                return False
        while len(self._backlog):
            message = self._backlog.first
            self._backlog.sent()
            if not self._take(message):
                return False
        if dropped := self._backlog.take_dropped():
            text = f"taskd: {counted(dropped, 'line was', 'lines were')} dropped: not written in time"
            said = notice(text, _WARNING, "taskd", clock.now()) if self._as_json else text.encode()
            return self._take(said + b"\n")
        return True

    def _take(self, message: bytes) -> bool:
        """Write the message; keep what is left in ``_partial`` and return False when not all was taken."""
        try:
            while message:
                message = message[self._write_some(message) :]
        except BlockingIOError:
            self._partial = message
            return False
        except OSError:
            self._backlog.lose()  # a full disk, or the reader has gone: nothing can be said either
        return True


def _refuse(_data: bytes) -> int:
    """Take nothing: the sink is not open."""
    raise BlockingIOError


def _writer(fd: int) -> tuple[int, Callable[[bytes], int]]:
    """Return a descriptor of our own, and what writes to it or raises ``BlockingIOError``."""
    mode = os.fstat(fd).st_mode
    if stat.S_ISSOCK(mode):
        own = os.dup(fd)
        connection = socket.socket(fileno=os.dup(fd))
        return own, lambda data: connection.send(data, socket.MSG_DONTWAIT)
    if stat.S_ISREG(mode):
        own = os.dup(fd)
        return own, lambda data: os.write(own, data)
    try:
        own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        own = os.dup(fd)  # another user's terminal, or a FIFO without a reader
        return own, lambda data: _write_polled(own, data)
    return own, lambda data: os.write(own, data)


def _write_polled(fd: int, data: bytes) -> int:
    if not _writable(fd, 0.0):
        raise BlockingIOError
    return os.write(fd, data[:_POLLED_BYTES])


def _writable(fd: int, timeout_s: float) -> bool:
    """Wait until the descriptor can be written to; False when the time is over."""
    poll = select.poll()  # not select: this process may have more than 1024 descriptors
    poll.register(fd, select.POLLOUT)
    return timeout_s >= 0 and bool(poll.poll(timeout_s * 1000))
