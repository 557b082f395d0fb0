"""Lines that are more than text: records of taskd's programs for the journal, and JSON lines.  Pure."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from taskd.base import clock, log, safe_text

#: How a record begins after its priority.
MARK = log.RECORD_MARK.encode()
_LEVELS = ("critical",) * 3 + ("error", "warning", "info", "info", "debug")
_INFO = 6


class Record(msgspec.Struct, frozen=True):
    """One record of a program's own log; ``task`` and ``id`` are those of the task that logged it."""

    message: str
    task: str = ""
    id: str = ""

    def fields(self) -> Mapping[str, str]:
        """Return the fields of the journal."""
        fields = {"TASKD_TASK": self.task, "TASKD_TASK_ID": self.id}
        return {name: value for name, value in fields.items() if value}


_decoder = msgspec.json.Decoder(Record)
_any_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def decode(text: bytes) -> Record | None:
    """Return the record that a line is; None for one that only begins like it: a task may print anything."""
    try:
        return _decoder.decode(text[len(MARK) :])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def as_json(text: bytes, priority: int | None, program: str, at: float) -> bytes:
    """Return a line as a JSON object: as it is if it is one, else as the message of a new one."""
    if text.startswith(b"{"):
        try:
            _any_object.decode(text)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            pass
        else:
            return text
    return notice(text.decode("utf-8", "backslashreplace"), priority, program, at)


def notice(message: str, priority: int | None, program: str, at: float) -> bytes:
    """Return what the supervisor itself has to say among JSON lines."""
    level = _LEVELS[_INFO if priority is None else priority]
    fields = {"at": clock.iso(at), "level": level, "program": program, "logger": "output", "message": message}
    return safe_text.json_text(msgspec.json.encode(fields).decode()).encode()
