"""Names of programs as arguments, which a shell can complete by asking the daemon."""

from __future__ import annotations

import click
import msgspec

from taskd.cli import daemon
from taskd.cli.session import Session
from taskd.errors import TaskdError
from taskd.supervisor.control.client import ControlClient

# Whoever pressed the tabulator key waits.
_TIMEOUT_S = 1.0


def complete_programs(context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    """Return the programs and workers whose names begin so; none when the daemon cannot be asked."""
    try:
        socket_path = context.params.get("socket_path")
        if not isinstance(socket_path, str):
            given = context.find_root().params.get("config_path")
            session = Session(given if isinstance(given, str) else None)
            socket_path = session.config.supervisor.control_socket
        rows = daemon.fetch_status(ControlClient(socket_path), _TIMEOUT_S).programs
    except (TaskdError, msgspec.MsgspecError):
        return []
    names = dict.fromkeys(name for row in rows for name in (daemon.group_of(row), row.name))
    return [name for name in names if name.startswith(incomplete)]


name_argument = click.argument("name", shell_complete=complete_programs)
