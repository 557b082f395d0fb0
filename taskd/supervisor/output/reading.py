"""The method ``logs`` of the control socket: the last lines of programs, and what came after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskd.base.errors import ControlError
from taskd.supervisor.output.lines import OutputLine, split_priority
from taskd.supervisor.output.output import Output

#: An answer has at most this many lines and about this many bytes of text; the newest are kept.
MAX_LINES = 10_000
MAX_BYTES = 1 << 20
DEFAULT_LINES = 100


class LogReading:
    """Answers at once, with what there is: whoever follows asks again with ``after``."""

    def __init__(self, output: Output) -> None:
        self._output = output

    def logs(self, names: Sequence[str], params: Mapping[str, object]) -> object:
        """Return lines of the programs, oldest first.

        ``count``: how many of all, the last ones.  ``after``: instead, by program, the number of the last
        line that is known already; a program that is not named there is new, and told from its first line.
        Raises: ``ControlError`` for parameters of another form.
        """
        count = params.get("count", DEFAULT_LINES)
        after = params.get("after")
        if not isinstance(count, int) or not 0 <= count <= MAX_LINES:
            raise ControlError(f"logs: count is {count!r}; expected a number from 0 to {MAX_LINES}")
        if after is None:
            lines = [line for name in names for line in self._output.ring(name).tail(count)]
        else:
            known = _numbers(after)
            count = MAX_LINES
            lines = [line for name in names for line in self._output.ring(name).after(known.get(name, 0))]
        lines.sort(key=lambda line: line.at)
        kept = _newest(lines[len(lines) - min(count, len(lines)) :])
        return {
            "lines": [_row(line) for line in kept],
            "last": {name: self._output.ring(name).last_number for name in names},
        }


def _numbers(after: object) -> Mapping[str, int]:
    if isinstance(after, dict) and all(isinstance(number, int) for number in after.values()):
        return after
    raise ControlError(f"logs: after is {after!r}; expected an object of numbers by program")


def _newest(lines: Sequence[OutputLine]) -> Sequence[OutputLine]:
    total = 0
    for position in range(len(lines) - 1, -1, -1):
        total += len(lines[position].text)
        if total > MAX_BYTES:
            return lines[position + 1 :]
    return lines


def _row(line: OutputLine) -> Mapping[str, object]:
    text = line.text if line.priority is None else split_priority(line.text)[1]
    return {
        "program": line.program,
        "pid": line.pid,
        "number": line.number,
        "at": line.at,
        "priority": line.priority,
        # A line that is not text must not keep the rest from being shown.
        "text": text.decode("utf-8", "backslashreplace"),
    }
