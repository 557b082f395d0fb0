"""The last lines of one program, for ``taskctl logs`` and for its death certificate."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice

from taskd.supervisor.output.lines import OutputLine

# The cost of a kept line beside its bytes.
_LINE_BYTES = 250


class Ring:
    """Keeps the newest lines within ``max_bytes`` of memory; always at least the last one."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lines: deque[OutputLine] = deque()
        #: The number of the newest line; 0 before the first.
        self.last_number = 0

    def add(self, line: OutputLine) -> None:
        """Keep a line, and forget the oldest ones that no longer fit."""
        self._lines.append(line)
        self.last_number = line.number
        self._bytes += _LINE_BYTES + len(line.text)
        while self._bytes > self._max_bytes and len(self._lines) > 1:
            self._bytes -= _LINE_BYTES + len(self._lines.popleft().text)

    def tail(self, count: int) -> Sequence[OutputLine]:
        """Return the last ``count`` lines, oldest first."""
        return list(islice(self._lines, max(0, len(self._lines) - count), None))

    def after(self, number: int) -> Sequence[OutputLine]:
        """Return the lines above ``number`` that are still there, oldest first."""
        if not self._lines or self._lines[-1].number <= number:
            return ()
        # Numbers have no gaps: what was dropped had none.
        return list(islice(self._lines, max(0, number + 1 - self._lines[0].number), None))
