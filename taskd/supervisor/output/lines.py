"""Bytes of a program cut into lines, and the priority at the start of a line.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

#: A longer line is delivered in pieces of this size, as journald does (LineMax= of journald.conf(5)).
MAX_LINE_BYTES = 48 * 1024
#: Priority of syslog(3) of a line that names none.
INFO = 6


@dataclass(frozen=True, slots=True)
class OutputLine:
    """One line without its newline, as it was written.

    ``priority`` is None when the line named none; ``number`` counts the lines of its program from 1
    and goes on over restarts; ``at`` is when it was read.  ``fields`` are further fields for the
    journal.
    """

    program: str
    pid: int
    number: int
    at: float
    text: bytes
    priority: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def split_priority(line: bytes) -> tuple[int | None, bytes]:
    """Return the priority of ``<N>`` at the start of a line (sd-daemon(3)) and the rest."""
    if len(line) >= 3 and line[0] == 0x3C and line[2] == 0x3E and 0x30 <= line[1] <= 0x37:
        return line[1] - 0x30, line[3:]
    return None, line


class Splitter:
    """Cuts one stream into lines; holds at most ``MAX_LINE_BYTES`` of a line that has no end yet."""

    def __init__(self) -> None:
        self._partial = b""
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes]:
        """Return the lines that are complete now, and pieces of those that are too long."""
        if self._skipping:
            _, newline, data = data.partition(b"\n")
            self._skipping = not newline
        *lines, rest = (self._partial + data).split(b"\n")
        if b"\r" in data or b"\r" in self._partial:
            lines = [_overwritten(line) for line in lines]
        self._partial = rest
        if len(rest) <= MAX_LINE_BYTES and all(len(line) <= MAX_LINE_BYTES for line in lines):
            return lines
        cut = [piece for line in lines for piece in _pieces(line)]
        while len(self._partial) > MAX_LINE_BYTES:
            cut.append(self._partial[:MAX_LINE_BYTES])
            self._partial = self._partial[MAX_LINE_BYTES:]
        return cut

    @property
    def has_progress(self) -> bool:
        """Whether the line that has no end yet was begun anew by a carriage return, as progress bars do."""
        return b"\r" in self._partial

    def progress(self) -> bytes:
        """Return the text that such a line shows now, and go on after it; it may be empty."""
        before, _, after = self._partial.rpartition(b"\r")
        self._partial = b""
        return _overwritten(before + b"\r" + after)

    def skip(self) -> None:
        """Forget the line that has begun, up to its end: what came in between was dropped."""
        self._partial = b""
        self._skipping = True

    def rest(self) -> bytes:
        """Return the last line, which has no end, and begin anew."""
        rest, self._partial = self._partial, b""
        self._skipping = False
        return _overwritten(rest)


def _overwritten(line: bytes) -> bytes:
    """Return what a terminal shows of a line with carriage returns: the last text that is one."""
    return next((part for part in reversed(line.split(b"\r")) if part), b"")


def _pieces(line: bytes) -> list[bytes]:
    return [line[at : at + MAX_LINE_BYTES] for at in range(0, len(line), MAX_LINE_BYTES)] or [line]
