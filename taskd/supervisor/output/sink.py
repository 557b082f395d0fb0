"""The seam of sinks: where lines go."""

from __future__ import annotations

from typing import Protocol

from taskd.base.lifecycle import Service
from taskd.supervisor.output.lines import OutputLine


class Sink(Service, Protocol):
    """A service that takes lines.  For the loop's thread; no method blocks, but ``stop`` up to its deadline.

    ``stop`` passes on what waits.  ``quiet`` does nothing: the last lines come until the end.
    """

    def write(self, line: OutputLine) -> None:
        """Pass the line on, now or as soon as it is taken; it may be dropped, and that is counted.

        A line from before the start waits; one after the end is dropped.
        """

    def reopen(self) -> None:
        """Open files anew by their names, after a log rotation by others."""

    @property
    def dropped(self) -> int:
        """How many lines were dropped so far because they were not taken in time."""
