"""Run a command as a program of the configuration would run, to its end: ``taskd --check --import``.

The same steps and the same environment as for a program, so that what fails there fails here.
"""

from __future__ import annotations

import os
import select
import signal
from dataclasses import dataclass

from taskd.base import clock
from taskd.base.errors import ProtocolError
from taskd.config import transfer
from taskd.config.schema import Config
from taskd.protocol.status import LastWords, decode_line
from taskd.supervisor.model.roster import ProgramSpec
from taskd.supervisor.process.spawn import spawn
from taskd.supervisor.process.streams import Streams

_READ_BYTES = 1 << 16
#: More of what it prints is thrown away.
_MOST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Tried:
    """How it ended: ``status`` as in ``os.waitstatus_to_exitcode``, and what it printed."""

    status: int
    output: str


def run_to_end(spec: ProgramSpec, config: Config, *, timeout_s: float) -> Tried:
    """Start it and wait; after ``timeout_s`` it is killed.  Raises: ``OSError``: no process could be made.

    ``config`` is what it is told of the configuration.

    For a process that supervises nothing: it waits.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    told = transfer.into_descriptor(config)
    try:
        process = spawn(spec, config_path=config.path, config_fd=told, streams=Streams(output_fd=writing))
    except OSError:
        os.close(reading)
        raise
    finally:
        os.close(writing)
        os.close(told)
    printed = bytearray()
    deadline = clock.monotonic() + timeout_s
    waiting = [reading, process.pidfd]
    while process.pidfd in waiting:
        ready, _, _ = select.select(waiting, [], [], max(0.0, deadline - clock.monotonic()))
        if not ready:
            signal.pidfd_send_signal(process.pidfd, signal.SIGKILL)
            printed += f"not done after {timeout_s:g} s, and killed\n".encode()
            break
        if process.pidfd in ready:
            break
        if not _take(reading, printed):
            waiting.remove(reading)
    ended = os.waitid(os.P_PIDFD, process.pidfd, os.WEXITED)
    while _take(reading, printed):
        pass
    words = os.read(process.status_fd, _READ_BYTES).partition(b"\n")[0] if _has(process.status_fd) else b""
    for fd in (reading, process.pidfd, process.status_fd):
        os.close(fd)
    assert ended is not None
    status = ended.si_status if ended.si_code == os.CLD_EXITED else -ended.si_status
    return Tried(status, _reason(words) + printed.decode("utf-8", "replace"))


def _has(fd: int) -> bool:
    return bool(select.select([fd], [], [], 0)[0])


def _take(fd: int, printed: bytearray) -> bool:
    """Read what is there; return whether there may be more."""
    try:
        data = os.read(fd, _READ_BYTES)
    except BlockingIOError:
        return False
    if len(printed) < _MOST_BYTES:
        printed += data
    return bool(data)


def _reason(line: bytes) -> str:
    """Return why it could not be started, empty if it was."""
    try:
        words = decode_line(line) if line else None
    except ProtocolError:
        return ""
    return f"{words.reason}\n" if isinstance(words, LastWords) else ""
