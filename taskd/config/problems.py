"""The problems of a configuration file, worded so that the author can mend them.

One line for each problem: ``file:line: table.key: wrong; expected ...; did you mean "x"?``;
a warning says so after the line.
"""

from __future__ import annotations

import traceback
from dataclasses import dataclass
from enum import Enum

from taskd.base.safe_text import one_line


class ProblemSeverity(Enum):
    """Whether the file can be used all the same."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to put right.

    ``line`` is 0 when the file as a whole is meant, and ``key`` empty then; ``nearest`` is the
    known name that was probably meant.
    """

    severity: ProblemSeverity
    file: str
    line: int
    key: str
    wrong: str
    expected: str = ""
    nearest: str = ""

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        if self.severity is ProblemSeverity.WARNING:
            place += ": warning"
        text = f"{place}: {self.key}: {self.wrong}" if self.key else f"{place}: {self.wrong}"
        if self.expected:
            text += f"; expected {self.expected}"
        if self.nearest:
            text += f'; did you mean "{self.nearest}"?'
        # One problem is one line, whatever somebody put into a quoted key.
        return one_line(text)


def unforeseen(error: Exception) -> str:
    """Return what to say of an error of the checker itself; the file and line of the code are in it."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {frames[-1].name}, {frames[-1].filename}:{frames[-1].lineno}" if frames else ""
    return f"taskd itself failed to check this ({type(error).__name__}: {error}{place}); please report it"
