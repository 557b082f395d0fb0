"""The state file of a daemon that does not answer, as taskctl shows it."""

from __future__ import annotations

import os

import msgspec

from taskd.base import clock
from taskd.cli.output import age, local_time
from taskd.supervisor.control.state_file import state_path
from taskd.supervisor.model.rows import ProgramRow


class LastState(msgspec.Struct, frozen=True, kw_only=True):
    """The state file.  ``written`` is a wall-clock second; ``ended``: the daemon had time to say so."""

    written: float
    ended: bool = False
    taskd: dict[str, object] = {}
    programs: list[ProgramRow] = []


def read(control_socket: str) -> LastState | None:
    """Return the state that the last daemon on this socket left; None when there is none to read."""
    try:
        with open(state_path(control_socket), "rb") as file:
            return msgspec.json.decode(file.read(), type=LastState)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def summary(state: LastState) -> str:
    """Return in one line when and how the daemon was last seen."""
    when = f"{age(clock.now() - state.written)} ago ({local_time(state.written)})"
    pid = state.taskd.get("pid")
    if state.ended:
        return f"taskd ended {when}; it was pid {pid}"
    if isinstance(pid, int) and os.path.exists(f"/proc/{pid}"):
        return (
            f"a process with its pid {pid} runs: if that is taskd, its socket was removed or replaced; "
            f"end it by SIGTERM and start it again. Its state changed last {when}"
        )
    return f"taskd (pid {pid}) was killed or lost; its state changed last {when}"
