"""The running daemon as taskctl sees it: typed rows from its control socket."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import msgspec

from taskd.base import exit_codes
from taskd.base.errors import ControlError
from taskd.base.nearest import nearest
from taskd.cli.output import Failure
from taskd.supervisor.control.client import CALL_TIMEOUT_S, ControlClient
from taskd.supervisor.model.reach import Reach
from taskd.supervisor.model.rows import GroupRow, ProgramRow

T = TypeVar("T")


class _Programs(msgspec.Struct, frozen=True):
    programs: list[ProgramRow]


class Status(msgspec.Struct, frozen=True):
    """The answer of ``status``."""

    taskd: dict[str, object]
    programs: list[ProgramRow]
    groups: dict[str, GroupRow] = {}


class Progress(msgspec.Struct, frozen=True):
    """How the latest reload fares."""

    revision: int = msgspec.field(name="generation")
    outcome: str
    troubles: list[str]
    #: Of one that failed; a daemon of an older version does not tell them.
    in_force: list[str] | None = None
    not_in_force: list[str] | None = None

    @property
    def reach(self) -> str:
        """How far one that failed has come; empty where the daemon does not tell it."""
        told = self.in_force is not None and self.not_in_force is not None
        return str(Reach(self.in_force or (), self.not_in_force or ())) if told else ""


def state_of(row: ProgramRow) -> str:
    """Return the state for people, who want to know whether DOWN is as it should be."""
    if row.wanted or row.state != "DOWN":
        return row.state
    return "DOWN (not needed)" if row.spare else "DOWN (stopped)"


def fetch_status(client: ControlClient, timeout_s: float = CALL_TIMEOUT_S) -> Status:
    """Ask for everything.  Raises: ``ControlError``."""
    return typed(client.call("status", timeout_s=timeout_s), Status)


def progress_of(status: Status) -> Progress:
    """Return how the latest reload fares.  Raises: ``ControlError``."""
    return typed(status.taskd.get("reload"), Progress)


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
