"""The supervisor's end of a program's status descriptor: bytes in, status lines out.

A program may be broken in any way: half a line, garbage, a flood, a line without end, an early
close.  None of these may stop the supervisor, fill its memory or starve other programs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from taskd.base.errors import ProtocolError
from taskd.base.loop import Loop, Owner
from taskd.protocol.status import MAX_LINE_BYTES, StatusLine, decode_line

# The bytes read in one turn of the loop: the size of a pipe.  A flooding program so gets no more turns
# than its neighbours.
_READ_BYTES = 1 << 16
# At the end of a program its pipe is read until it is empty, unless a descendant goes on writing.
_LAST_READS = 1 + MAX_LINE_BYTES // _READ_BYTES


class StatusPipe:
    """Reads one life of a program.  ``on_line`` gets each line, ``on_broken`` says what is wrong.

    ``on_broken`` is called at most once: the text names the fault, and ``fatal`` says that the
    program must be ended, because its liveness cannot be known any more.
    """

    def __init__(
        self,
        loop: Loop,
        fd: int,
        on_line: Callable[[StatusLine], None],
        on_broken: Callable[[str, bool], None],
        owner: Owner,
    ) -> None:
        self._loop = loop
        self._fd = fd
        self._on_line = on_line
        self._on_broken = on_broken
        self._partial = bytearray()
        self._complained = False
        self._closed = False
        loop.add_reader(fd, self._on_readable, owner)

    def close(self) -> None:
        """Deliver what is left and close.  A second call does nothing."""
        try:
            for _ in range(_LAST_READS):
                if self._closed or not self._read():
                    break
        finally:
            self._close()

    def _close(self) -> None:
        if not self._closed:
            self._closed = True
            self._loop.remove_reader(self._fd)
            os.close(self._fd)

    def _on_readable(self) -> None:
        self._read()

    def _read(self) -> bool:
        """Read once; return whether there may be more."""
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self._close()
            return False
        for line in self._lines(data):
            try:
                self._on_line(decode_line(line))
            except ProtocolError as error:
                self._complain(str(error), fatal=False)
        return not self._closed

    def _lines(self, data: bytes) -> Iterator[bytes]:
        self._partial += data
        *lines, rest = self._partial.split(b"\n")
        self._partial = rest
        yield from (bytes(line) for line in lines)
        if len(rest) > MAX_LINE_BYTES:
            self._partial = bytearray()
            self._complain(f"a status line is longer than {MAX_LINE_BYTES} bytes", fatal=True)

    def _complain(self, text: str, *, fatal: bool) -> None:
        if fatal or not self._complained:
            self._complained = True
            self._on_broken(text, fatal)
