"""The troubles that the daemon and its programs tell: they work, and somebody must mend something."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from taskd.cli import daemon
from taskd.protocol.status import Trouble
from taskd.supervisor.model.rows import ProgramRow


class ToldTrouble(NamedTuple):
    """One of them, with its remedy in the text; ``since`` is wall-clock time, None where nobody knows."""

    name: str
    text: str
    since: float | None


def troubles_of(taskd: Mapping[str, object], rows: Sequence[ProgramRow]) -> Iterator[ToldTrouble]:
    """Yield the troubles of a status, the worst first: those of the daemon, then those of programs."""
    if log := taskd.get("log_trouble"):
        yield ToldTrouble("taskd", f"the log cannot be written: {log}", None)
    for each in daemon.typed(taskd.get("troubles", []), list[Trouble]):
        yield ToldTrouble("taskd", each.text, each.since)
    for row in rows:
        for each in row.troubles:
            yield ToldTrouble(row.name, each.text, each.since)
