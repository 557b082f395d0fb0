"""The memory that a child shares with its pool, so that a killed child leaves the truth behind.

Jobs of one child are numbered from 1 in the order in which they were sent.  A child runs them in that order
and reports every one of them, also in that order.  One memfd for each child::

    page 0            words: BEGUN   number of the last job that was begun
                             SINCE   when that was (monotonic seconds, a float)
                             BASE    how many reports left through the socket
                             FILL    count << 32 | end of the reports in the area, one atomic store
                             HOLD    written by the pool: skip jobs up to this number, see below
                             SOFTEN  written by the pool: the job that SOFTEN_SIGNAL is meant for
                             NOTED   how many bytes went into the ring of lines
                             SAID    how many of them before the last job began
    area              a frame under construction: reports that were not sent yet
    last words        faulthandler writes here
    lines             a ring of what the child wrote last, see ``last_lines``

Reports are built in the shared area and sent from there, some thousand jobs in a few system calls.
After a SIGKILL the pool reads them from the area: only the one job between FILL and BEGUN is lost.

*Taking back.*  A child may be in a job that was expected to be short and is not, with others behind
it.  The pool stores HOLD and looks at BEGUN a few milliseconds later.  The child stores BEGUN before it loads
HOLD, so a job above that BEGUN will be skipped for certain.  The delay takes the place of the memory fences
that Python lacks; a store is visible to other processors within microseconds.
"""

from __future__ import annotations

import mmap
import os
import signal
import socket
import struct

import msgspec

from taskd.base.errors import PoolError
from taskd.base.plural import counted
from taskd.pools.prefork.wire import Report, decode_reports, encode_report

BEGUN, SINCE, BASE, FILL, HOLD, SOFTEN, NOTED, SAID = range(8)
#: Raises the soft limit in the job of SOFTEN.  A real-time signal: no task has a use of its own for it.
SOFTEN_SIGNAL = signal.SIGRTMIN + 1

_PAGE_BYTES = 4096
AREA_BYTES = 64 * 1024
_LAST_WORDS_AT = _PAGE_BYTES + AREA_BYTES
_LAST_WORDS_BYTES = 16 * 1024
_LINES_AT = _LAST_WORDS_AT + _LAST_WORDS_BYTES
LINES_BYTES = 4096
_SLOT_BYTES = _LINES_AT + LINES_BYTES

#: Length of the rest, base, then the head of a msgpack array: 0xdd and its length.
_HEAD = struct.Struct(">QQBI")
_LENGTH_BYTES = 8
_BASE = struct.Struct(">Q")
#: The same without the length.
_FRAME_HEAD = struct.Struct(">QBI")
_ARRAY32 = 0xDD


class Slot:
    """One mapping of the shared memory."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, _SLOT_BYTES)
        view = memoryview(self._map)
        #: The words; SINCE is only valid through ``times``.
        self.words = view[:_PAGE_BYTES].cast("Q")
        self.times = view[:_PAGE_BYTES].cast("d")
        self.area = view[_PAGE_BYTES:_LAST_WORDS_AT]
        self.lines = view[_LINES_AT:]
        self._view = view

    def unsent(self) -> tuple[int, list[Report]]:
        """Return the reports that wait in the area, and how many were sent before them.

        For the pool, when the child is dead or known to be inside a job.
        Raises: ``PoolError`` when the memory makes no sense.
        """
        base = self.words[BASE]
        fill = self.words[FILL]
        count = fill >> 32
        end = fill & 0xFFFFFFFF
        if not count:
            return base, []
        if not _HEAD.size <= end <= AREA_BYTES:
            raise PoolError(f"the shared memory says that reports end at byte {end} of {AREA_BYTES}")
        frame = bytearray(self.area[:end])
        _HEAD.pack_into(frame, 0, end - _LENGTH_BYTES, base, _ARRAY32, count)
        return read_reports(memoryview(frame)[_LENGTH_BYTES:])

    def last_words(self) -> str:
        """Return what faulthandler left, at most 16 KiB; empty when the child said nothing."""
        return bytes(self._view[_LAST_WORDS_AT:_LINES_AT]).rstrip(b"\0").decode("utf-8", "replace")

    def close(self) -> None:
        """Unmap the memory."""
        for view in (self.words, self.times, self.area, self.lines, self._view):
            view.release()
        self._map.close()


def create() -> tuple[int, Slot]:
    """Return a new slot and its memfd, whose offset is where the last words go."""
    fd = os.memfd_create("taskd-child", os.MFD_CLOEXEC)
    os.ftruncate(fd, _SLOT_BYTES)
    os.lseek(fd, _LAST_WORDS_AT, os.SEEK_SET)
    return fd, Slot(fd)


def read_reports(frame: memoryview) -> tuple[int, list[Report]]:
    """Return the reports of a frame and how many the child had sent before them.

    Raises: ``PoolError`` when the bytes make no sense.
    """
    if len(frame) < _HEAD.size - _LENGTH_BYTES:
        raise PoolError(f"a frame has {counted(len(frame), 'byte')}, too few for its head")
    base, kind, count = _FRAME_HEAD.unpack_from(frame)
    if kind != _ARRAY32 or count > len(frame):
        raise PoolError(f"a frame of {len(frame)} bytes begins with {bytes(frame[:13])!r}")
    try:
        return base, decode_reports(frame[_BASE.size :])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise PoolError(f"a frame holds no reports: {error}") from error


class ReportWriter:
    """The child's end: collects reports in the area and sends them in one go."""

    def __init__(self, slot: Slot, sock: socket.socket) -> None:
        self._slot = slot
        self._sock = sock
        self._sent = 0
        self._count = 0
        self._end = _HEAD.size

    @property
    def waiting(self) -> bool:
        """Whether a report has not been sent yet."""
        return self._count > 0

    def announce(self) -> None:
        """Send a frame without reports."""
        self._sock.sendall(_HEAD.pack(_HEAD.size - _LENGTH_BYTES, self._sent, _ARRAY32, 0))

    def append(self, report: Report) -> None:
        """Add the report of the next job.  A huge one is sent at once."""
        data = encode_report(report)
        start = self._end
        end = self._end + len(data)
        if end > AREA_BYTES:
            self.flush()
            start = _HEAD.size
            end = _HEAD.size + len(data)
            if end > AREA_BYTES:
                self._send_alone(data)
                return
        self._slot.area[start:end] = data
        self._count += 1
        self._end = end
        self._slot.words[FILL] = self._count << 32 | end

    def flush(self) -> None:
        """Send everything that was collected; blocks while the pool does not read."""
        if not self._count:
            return
        area = self._slot.area
        _HEAD.pack_into(area, 0, self._end - _LENGTH_BYTES, self._sent, _ARRAY32, self._count)
        self._sock.sendall(area[: self._end])
        self._sent += self._count
        self._count = 0
        self._end = _HEAD.size
        # In this order: a pool that reads between the two finds nothing, not the old under a new number.
        self._slot.words[FILL] = 0
        self._slot.words[BASE] = self._sent

    def _send_alone(self, data: bytes) -> None:
        head = _HEAD.pack(_HEAD.size - _LENGTH_BYTES + len(data), self._sent, _ARRAY32, 1)
        self._sock.sendall(head)
        self._sock.sendall(data)
        self._sent += 1
        self._slot.words[BASE] = self._sent
