"""Reads what one process writes, for as long as the process lives.

A program may flood, write a line without end, garbage, or nothing; close its streams, or leave them
to a descendant.  None of these may fill the supervisor's memory, take its time from other programs,
or keep it from noticing the program's end.
"""

from __future__ import annotations

import os

from taskd.base import clock
from taskd.base.loop import Loop, LoopTimer, Owner
from taskd.supervisor.output.channel import OutputChannel
from taskd.supervisor.output.lines import Splitter

# The bytes read in one turn of the loop: the size of a pipe.
_READ_BYTES = 1 << 16
# While output is dropped: the amount that is read in one go, and how long the loop then looks elsewhere in
# proportion to the time that this took.  A flood so costs at most a fifth of the loop.
_DROP_READS = 64
_REST_FACTOR = 4.0
_LEAST_REST_S = 0.002
# When the pipe is empty there is less hurry.
_QUIET_REST_S = 0.02
# A bar of progress is one line for each change on a terminal; in the log it is one for each such while.
_PROGRESS_EVERY_S = 2.0
# At the end of a process its pipe is read until it is empty, unless a descendant goes on writing.
_LAST_READS = 4


class Capture:
    """Reads ``fd``, the reading end of a non-blocking pipe, which it owns, into a channel.

    ``owner`` is the program that writes.
    """

    def __init__(self, loop: Loop, fd: int, channel: OutputChannel, pid: int, owner: Owner) -> None:
        self._loop = loop
        self._owner = owner
        self._fd = fd
        self._channel = channel
        self._pid = pid
        self._splitter = Splitter()
        self._resting: LoopTimer | None = None
        self._progress: LoopTimer | None = None
        self._closed = False
        loop.add_reader(fd, self._on_readable, owner)

    @property
    def last_number(self) -> int:
        """The number of the program's last line so far."""
        return self._channel.ring.last_number

    def close(self) -> None:
        """Take what is left in the pipe, the last line without a newline too, and close.

        A descendant that still has the pipe gets EPIPE from here on.  A second call does nothing.
        """
        try:
            for _ in range(_LAST_READS):
                if self._closed or not self._read():
                    break
        finally:
            self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for timer in (self._resting, self._progress):
            if timer is not None:
                timer.cancel()
        self._loop.remove_reader(self._fd)
        os.close(self._fd)
        self._channel.end(self._splitter.rest(), self._pid)

    def _show_progress(self) -> None:
        self._progress = None
        if not self._closed and self._splitter.has_progress and (shown := self._splitter.progress()):
            self._channel.write([shown], self._pid)

    def _on_readable(self) -> None:
        self._read()
        if self._progress is None and not self._closed and self._splitter.has_progress:
            self._progress = self._loop.call_later(_PROGRESS_EVERY_S, self._show_progress, self._owner)
        if self._channel.is_dropping and not self._closed:
            self._loop.remove_reader(self._fd)
            self._resting = self._loop.call_later(_LEAST_REST_S, self._drop, self._owner)

    def _drop(self) -> None:
        began = clock.monotonic()
        rest_s = _LEAST_REST_S
        for _ in range(_DROP_READS):
            if self._closed:
                return
            if not self._read():
                rest_s = _QUIET_REST_S
                break
        if self._closed:
            return
        if self._channel.recovers(self._pid):
            self._resting = None
            self._loop.add_reader(self._fd, self._on_readable, self._owner)
        else:
            rest_s = max(rest_s, (clock.monotonic() - began) * _REST_FACTOR)
            self._resting = self._loop.call_later(rest_s, self._drop, self._owner)

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close()
            return False
        if self._channel.admits(data):
            self._channel.write(self._splitter.feed(data), self._pid)
        else:
            self._splitter.skip()
            last_line = data.rfind(b"\n")
            if last_line >= 0:  # the rest behind the newline begins a line that may still be kept
                self._splitter.feed(data[last_line:])
        return True
