"""The running daemon as taskctl sees it: typed rows from its control socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from taskd.base import exit_codes
from taskd.base.errors import ControlError
from taskd.cli.output import Failure
from taskd.config.problems import nearest
from taskd.supervisor.control.client import CALL_TIMEOUT_S, ControlClient

T = TypeVar("T")


class ProgramRow(msgspec.Struct, frozen=True, kw_only=True):
    """One program in the answer of ``status``; see DESIGN section 7 for the states."""

    name: str
    kind: str
    state: str
    wanted: bool
    #: Not wanted because the load does not need it, not because somebody stopped it.
    spare: bool = False
    reason: str = ""
    #: Since when, by the wall clock, and for how long, which no jump of that one changes.
    since: float = 0.0
    for_s: float | None = None
    pid: int | None = None
    restarts: int = 0
    busy: int = 0
    reserved: int = 0
    depth: int = 0
    done: int = 0
    failed: int = 0
    rss_bytes: int = 0
    oldest_s: float = 0.0
    detail: str = ""
    #: It hangs and is not killed any more.
    alarm: str = ""
    revision: int = msgspec.field(name="generation", default=0)


class GroupRow(msgspec.Struct, frozen=True):
    """How far the programs of one table are on the way to what is wanted."""

    settled: bool
    trouble: str = ""


class _Programs(msgspec.Struct, frozen=True):
    programs: list[ProgramRow]


class Status(msgspec.Struct, frozen=True):
    """The answer of ``status``."""

    taskd: dict[str, object]
    programs: list[ProgramRow]
    groups: dict[str, GroupRow] = {}


def state_of(row: ProgramRow) -> str:
    """Return the state for people, who want to know whether DOWN is as it should be."""
    if row.wanted or row.state != "DOWN":
        return row.state
    return "DOWN (not needed)" if row.spare else "DOWN (stopped)"


def fetch_status(client: ControlClient, timeout_s: float = CALL_TIMEOUT_S) -> Status:
    """Ask for everything.  Raises: ``ControlError``."""
    return typed(client.call("status", timeout_s=timeout_s), Status)


def command(
    client: ControlClient, verb: str, name: str, more: Mapping[str, object] | None = None
) -> Sequence[ProgramRow]:
    """Have a verb applied and return the rows of the programs that it applies to, as they are then.

    ``name`` is a program, or a table of the configuration with all its programs.
    Raises: ``ControlError``; ``Failure`` for a name that means none, with the nearest one
    and ``USAGE``.
    """
    programs = fetch_status(client).programs
    names = {row.name for row in programs} | {group_of(row) for row in programs}
    if name not in names:
        hint = nearest(name, names)
        known = f'did you mean "{hint}"?' if hint else f"there are: {', '.join(sorted(names)) or 'none'}"
        raise Failure(f'there is no program "{name}"; {known}', exit_codes.USAGE)
    return typed(client.call(verb, {"name": name, **(more or {})}), _Programs).programs


def group_of(row: ProgramRow) -> str:
    """Return the name of the table that the program comes from: ``mail`` for ``mail-1``."""
    return row.name if row.kind == "beat" else row.name.rpartition("-")[0]


def typed(answer: object, kind: type[T]) -> T:
    """Return a daemon's answer as the type that it should have.  Raises: ``ControlError``."""
    try:
        return msgspec.convert(answer, kind)
    except msgspec.ValidationError as error:
        raise ControlError(
            f"the daemon's answer is not understood ({error}); is it another version?"
        ) from error
