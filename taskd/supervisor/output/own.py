"""The supervisor's own log, on the same way as the output of its programs.

Its handlers never block either: standard error may be a pipe that nobody reads.
"""

from __future__ import annotations

import logging
import os

from taskd.base import clock, log
from taskd.supervisor.output.lines import OutputLine
from taskd.supervisor.output.ring import Ring
from taskd.supervisor.output.sink import Sink

#: The name of the supervisor's own output among those of its programs.
NAME = "taskd"


class OwnHandler(logging.Handler):
    """Passes the supervisor's records to a sink, each record as one entry, and keeps the last ones.

    A record may carry ``extra={"fields": {...}}``: further fields for the journal.
    """

    def __init__(self, sink: Sink, formatter: logging.Formatter | None, *, tail_bytes: int) -> None:
        super().__init__()
        self.setFormatter(formatter)
        self.ring = Ring(tail_bytes)
        self._sink = sink
        self._number = 0
        self._pid = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        """Format and pass on."""
        self._number += 1
        line = OutputLine(
            program=NAME,
            pid=self._pid,
            number=self._number,
            at=clock.now(),
            text=self._text(record).encode("utf-8", "surrogateescape"),
            priority=log.priority(record.levelno),
            fields=getattr(record, "fields", {}),
        )
        self.ring.add(line)
        self._sink.write(line)

    def _text(self, record: logging.LogRecord) -> str:
        try:
            return self.format(record)
        except Exception as error:  # noqa: BLE001 - whoever logs must not fail for it
            return f"a record could not be formatted ({type(error).__name__}: {error}): {record.msg!r}"
