"""How the pool children of programs are shown."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from taskd.cli import daemon
from taskd.cli.output import age
from taskd.protocol.status import ChildState
from taskd.supervisor.control.client import ControlClient

COLUMNS = ("PROGRAM", "PID", "STATE", "FOR", "REPORTED", "TASK", "ID")


class ChildRow(msgspec.Struct, frozen=True, kw_only=True):
    """One child in the answer of ``children``, as its program last told it."""

    program: str
    pid: int
    state: str
    id: str = ""
    name: str = ""
    since_s: float = 0.0
    heard_s: float = 0.0


class _Children(msgspec.Struct, frozen=True):
    children: list[ChildRow]


def fetch(client: ControlClient) -> Sequence[ChildRow]:
    """Ask for all children of all programs.  Raises: ``ControlError``."""
    return daemon.typed(client.call("children"), _Children).children


def cells(row: ChildRow) -> tuple[object, ...]:
    """Return the row of the table."""
    return (row.program, row.pid, row.state, age(row.since_s), f"{age(row.heard_s)} ago", row.name, row.id)


def in_words(child: ChildState) -> str:
    """Return one line about a child, as a certificate keeps it."""
    task = f" {child.name} {child.id}" if child.id else ""
    return f"{child.pid} {child.state}{task} for {age(child.since_s)}, reported {age(child.heard_s)} before"
