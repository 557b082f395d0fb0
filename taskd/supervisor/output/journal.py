"""The journal of systemd by its native protocol: one datagram an entry, with fields.

The protocol is documented at https://systemd.io/JOURNAL_NATIVE_PROTOCOL/: ``NAME=value`` lines, or for
values with newlines the name, a newline, the length as 64 bits little-endian, the value, a newline.  An
entry that does not fit into a datagram travels as a sealed memfd.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct

from taskd.base.lifecycle import Deadline, OneLife
from taskd.base.loop import Loop, Owner
from taskd.base.plural import counted
from taskd.supervisor.output.backlog import Backlog
from taskd.supervisor.output.lines import INFO, OutputLine, split_priority

SOCKET_PATH = "/run/systemd/journal/socket"

_AGAIN_S = 0.5
_LENGTH = struct.Struct("<Q")
_WARNING = 4
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def entry(line: OutputLine) -> bytes:
    """Return the line as an entry of the native protocol."""
    priority, text = split_priority(line.text) if line.priority is not None else (None, line.text)
    priority = line.priority if priority is None else priority
    fields = [
        _field("MESSAGE", text),
        _field("PRIORITY", str(INFO if priority is None else priority).encode()),
        _field("SYSLOG_IDENTIFIER", b"taskd"),
        _field("SYSLOG_PID", str(line.pid).encode()),
        _field("TASKD_PROGRAM", line.program.encode("utf-8", "replace")),
    ]
    fields += [_field(name, value.encode("utf-8", "replace")) for name, value in line.fields.items()]
    return b"".join(fields)


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + _LENGTH.pack(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def is_there(path: str = SOCKET_PATH) -> bool:
    """Return whether journald's socket exists."""
    return os.path.exists(path)


class JournalSink:
    """Sends each line to journald; a line that it does not take at once waits in a backlog."""

    def __init__(self, loop: Loop, path: str = SOCKET_PATH) -> None:
        self._loop = loop
        self._path = path
        self._life = OneLife()
        self._backlog = Backlog()
        self._socket: socket.socket | None = None
        self._waiting = False
        self._owner = Owner("the sink of the journal", self._fail)

    def start(self) -> None:
        """Begin: the first line opens the socket."""
        self._life.begin()

    def quiet(self) -> None:
        """Do nothing: the last lines come until the end."""

    @property
    def dropped(self) -> int:
        """How many lines were dropped."""
        return self._backlog.dropped_total

    def write(self, line: OutputLine) -> None:
        """Send the line, or keep it."""
        if self._life.has_ended:
            self._backlog.lose()
            return
        message = entry(line)
        if self._waiting or not self._send(message):
            self._backlog.add(message)
            if not self._waiting:
                self._await()

    def reopen(self) -> None:
        """Do nothing: journald has the files."""

    def stop(self, deadline: Deadline) -> None:
        """Try once more, and close: what journald does not take by the deadline is lost."""
        if self._socket is not None and self._waiting:
            self._socket.settimeout(deadline.remaining_s())
            self._flush()
        self.kill()

    def kill(self) -> None:
        """Close: what waits is lost."""
        self._life.end()
        self._waiting = False
        self._forget()

    def _await(self) -> None:
        """Try again when journald's queue has room, or soon when there is no journald."""
        self._waiting = True
        if self._socket is not None:
            self._loop.add_writer(self._socket.fileno(), self._retry, self._owner)
        else:
            self._loop.call_later(_AGAIN_S, self._retry, self._owner)

    def _fail(self, _why: str) -> None:
        """Pay for an error of our own: the entry that is next is lost, and the rest is tried again."""
        if len(self._backlog):
            self._backlog.sent()
            self._backlog.lose()
        self._forget()
        self._await()

    def _retry(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
        if self._waiting:
            self._waiting = False
            if not self._flush():
                self._await()

    def _flush(self) -> bool:
        while len(self._backlog):
            if not self._send(self._backlog.first):
                return False
            self._backlog.sent()
            if not len(self._backlog) and (dropped := self._backlog.take_dropped()):
                what = counted(dropped, "line was", "lines were")
                text = f"taskd: {what} dropped: journald did not take them in time".encode()
                self._backlog.add(entry(OutputLine("taskd", os.getpid(), 0, 0.0, text, _WARNING)))
        return True

    def _send(self, message: bytes) -> bool:
        """Return whether the message needs no more care: it was taken, or is refused for good."""
        try:
            if self._socket is None:
                self._socket = _connect(self._path)
            self._socket.send(message)
        except OSError as error:
            if error.errno in {errno.EMSGSIZE, errno.ENOBUFS} and self._socket is not None:
                return self._send_large(self._socket, message)
            if error.errno not in {errno.EAGAIN, errno.ETIMEDOUT}:
                self._forget()  # journald was restarted, or is not there: a new socket next time
            return False
        return True

    def _send_large(self, connection: socket.socket, message: bytes) -> bool:
        fd = os.memfd_create("taskd-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            with os.fdopen(os.dup(fd), "wb") as file:
                file.write(message)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
            socket.send_fds(connection, [b""], [fd])
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def _forget(self) -> None:
        if self._socket is not None:
            self._loop.remove_writer(self._socket.fileno())
            self._socket.close()
            self._socket = None


def _connect(path: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        connection.connect(path)
    except OSError:
        connection.close()
        raise
    return connection
