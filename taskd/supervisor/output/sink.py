"""The seam of sinks: where lines go."""

from __future__ import annotations

from typing import Protocol

from taskd.supervisor.output.lines import OutputLine


class Sink(Protocol):
    """Takes lines.  For the loop's thread; no method blocks, but ``close`` for as long as it is told."""

    def write(self, line: OutputLine) -> None:
        """Pass the line on, now or as soon as it is taken; it may be dropped, and that is said."""

    def reopen(self) -> None:
        """Open files anew by their names, after a log rotation by others."""

    @property
    def dropped(self) -> int:
        """How many lines were dropped so far because they were not taken in time."""

    def close(self, timeout_s: float) -> None:
        """Pass on what waits, for at most ``timeout_s``, and release everything."""
