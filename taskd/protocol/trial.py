"""The last line of a trial, by which it tells ``taskd --check --import`` what an app has.

The app may print before it: what is not such a line is for people.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

#: No text of people begins so.
_MARK = "\x1eTASKD-TRIAL "


class PeriodicTask(msgspec.Struct, frozen=True):
    """An entry that the code declares: what it sends, and where to."""

    name: str
    task: str
    queue: str


class TrialFacts(msgspec.Struct, frozen=True):
    """The tasks of an app, each with the queue to which its calls go; empty where only a call decides it."""

    tasks: Mapping[str, str] = {}
    entries: Sequence[PeriodicTask] = ()


_decoder = msgspec.json.Decoder(TrialFacts)


def line_of(facts: TrialFacts) -> str:
    """Return the line; it begins a line of its own."""
    return f"{_MARK}{msgspec.json.encode(facts).decode()}\n"


def taken_from(output: str) -> tuple[str, TrialFacts | None]:
    """Return what was printed without that line, and what it says; None without one that can be read."""
    before, mark, line = output.rpartition(_MARK)
    if not mark:
        return output, None
    told, _, after = line.partition("\n")
    try:
        return before + after, _decoder.decode(told)
    except (msgspec.DecodeError, UnicodeError):
        return before + after, None
