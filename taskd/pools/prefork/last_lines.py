"""The last lines that a job wrote before its child died, in the memory that the child shares with its pool.

The log has them too, among the lines of everybody; the dead letter is to have those of its own task.  So
the output of Python's two standard streams in a child is also written into a ring in the slot, which
outlives the child.  Output of C code or a subprocess to the descriptors goes by.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import TextIO

from taskd.base import log
from taskd.pools.prefork.slot import LINES_BYTES, NOTED, SAID, Slot


def keep(slot: Slot) -> None:
    """Keep what this process writes from now on, what it logs included."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None:
            noting = _Noting(stream, slot)
            setattr(sys, name, noting)
            log.redirect(stream, noting)


class _Noting:
    """A text stream that notes in the slot what is written.  Everything else is the stream's own."""

    def __init__(self, stream: TextIO, slot: Slot) -> None:
        self._stream = stream
        self._slot = slot
        self._write = stream.write
        self.flush = stream.flush  # called after every batch of jobs

    def write(self, text: str) -> int:
        written = self._write(text)
        note(self._slot, text)
        return written

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


def note(slot: Slot, text: str) -> None:
    """Write into the ring, over what is oldest."""
    data = text[-LINES_BYTES:].encode("utf-8", "replace")[-LINES_BYTES:]
    # Bytes that do not fit count as written all the same: the reader is to know that a line is not whole.
    begin = slot.words[NOTED] + max(0, len(text) - LINES_BYTES)
    place = begin % LINES_BYTES
    first = min(len(data), LINES_BYTES - place)
    slot.lines[place : place + first] = data[:first]
    slot.lines[: len(data) - first] = data[first:]
    slot.words[NOTED] = begin + len(data)


def last_lines(slot: Slot) -> str:
    """Return what was written since the present job began, at most 4 KiB of whole lines."""
    since = slot.words[SAID]
    end = slot.words[NOTED]
    begin = max(since, end - LINES_BYTES)
    place = begin % LINES_BYTES
    ring = bytes(slot.lines)
    text = (ring[place:] + ring[:place])[: end - begin].decode("utf-8", "replace")
    return text if begin == since else text.partition("\n")[2]
