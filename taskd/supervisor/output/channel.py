"""The output of one program over all its lives: numbered, limited, remembered, passed on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from taskd.base import clock
from taskd.base.plural import counted
from taskd.supervisor.output import records
from taskd.supervisor.output.allowance import LINE_COST_BYTES, Allowance
from taskd.supervisor.output.lines import OutputLine, split_priority
from taskd.supervisor.output.ring import Ring
from taskd.supervisor.output.sink import Sink

_WARNING = 4


class OutputChannel:
    """Created once for each name; its ring outlives the processes.  Never blocks."""

    def __init__(
        self, program: str, sink: Sink, *, tail_bytes: int, rate_bytes: int, as_json: bool = False
    ) -> None:
        """``as_json``: every line is to be a JSON object, whatever the program prints."""
        self._as_json = as_json
        self.program = program
        self.ring = Ring(tail_bytes)
        self._sink = sink
        self._allowance = Allowance(rate_bytes)
        self._number = 0
        self._dropped_lines = 0
        self._dropped_bytes = 0

    @property
    def is_dropping(self) -> bool:
        """Whether the program has used up what it may write."""
        return self._allowance.exhausted

    def recovers(self, pid: int) -> bool:
        """Return whether process ``pid`` may write again; a note says how much was dropped until then."""
        if not self._allowance.take(0, clock.monotonic()):
            return False
        self._say_dropped(pid)
        return True

    def admits(self, data: bytes) -> bool:
        """Return whether output just read may pass; it is counted as dropped otherwise."""
        lines = data.count(b"\n")
        if self._allowance.take(len(data) + lines * LINE_COST_BYTES, clock.monotonic()):
            return True
        self._dropped_lines += lines
        self._dropped_bytes += len(data)
        return False

    def write(self, lines: Iterable[bytes], pid: int) -> None:
        """Take whole lines of process ``pid``."""
        self._say_dropped(pid)
        at = clock.now()
        for raw in lines:
            self._add(raw, pid, at)

    def end(self, rest: bytes, pid: int) -> None:
        """Take the last line of a process, which had no newline, and say what is still to be said."""
        if rest:
            self._add(rest, pid, clock.now())
        self._say_dropped(pid)

    def _say_dropped(self, pid: int) -> None:
        if self._dropped_bytes:
            lines = counted(self._dropped_lines, "line")
            size = counted(self._dropped_bytes, "byte")
            text = (
                f"taskd: {lines} ({size}) of {self.program} {'was' if self._dropped_lines == 1 else 'were'} "
                f"dropped: it wrote more than {self._allowance.rate_bytes} bytes a second (log.rate)"
            )
            self._dropped_lines = 0
            self._dropped_bytes = 0
            self._add(f"<{_WARNING}>{text}".encode(), pid, clock.now())

    def _add(self, raw: bytes, pid: int, at: float) -> None:
        self._number += 1
        priority, text = split_priority(raw)
        fields: Mapping[str, str] = {}
        if self._as_json:
            raw = records.as_json(text, priority, self.program, at)
        elif text.startswith(records.MARK) and (record := records.decode(text)) is not None:
            fields = record.fields()
            raw = raw[: len(raw) - len(text)] + record.message.encode("utf-8", "replace")
        line = OutputLine(self.program, pid, self._number, at, raw, priority, fields)
        self.ring.add(line)
        self._sink.write(line)
