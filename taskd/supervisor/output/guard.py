"""A barrier before a sink: what nobody foresaw there costs a line, and neither its program nor the loop.

Nothing is logged here: the supervisor's own log goes through the same sinks.
"""

from __future__ import annotations

from taskd.base.lifecycle import Deadline
from taskd.supervisor.output.lines import OutputLine
from taskd.supervisor.output.sink import Sink


class GuardedSink:
    """Passes everything on, and counts the lines that the sink failed for among the dropped ones."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._lost = 0
        #: The trouble with the last line; empty without any.
        self.trouble = ""

    @property
    def dropped(self) -> int:
        """How many lines the sink dropped or failed for."""
        return self._sink.dropped + self._lost

    def write(self, line: OutputLine) -> None:
        """Pass the line on; it is lost when the sink fails."""
        try:
            self._sink.write(line)
            self.trouble = ""
        except Exception as error:  # noqa: BLE001 - the barrier
            self._lost += 1
            self.trouble = f"internal error in {type(self._sink).__name__}: {type(error).__name__}: {error}"

    def reopen(self) -> None:
        """As the sink does."""
        self._sink.reopen()

    def start(self) -> None:
        """As the sink does."""
        self._sink.start()

    def quiet(self) -> None:
        """As the sink does."""
        self._sink.quiet()

    def stop(self, deadline: Deadline) -> None:
        """As the sink does."""
        self._sink.stop(deadline)

    def kill(self) -> None:
        """As the sink does."""
        self._sink.kill()
