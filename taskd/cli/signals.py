"""``taskctl signal``: send a signal to a program."""

from __future__ import annotations

import click
import msgspec

from taskd.base import exit_codes
from taskd.cli import daemon
from taskd.cli.names import name_argument
from taskd.cli.output import echo_json, json_option, printable
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient

_USUAL = ("TERM", "QUIT", "INT", "HUP", "USR1", "USR2", "KILL", "STOP", "CONT", "ABRT", "TTIN", "TTOU")


def _complete(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in _USUAL if name.startswith(incomplete.upper().removeprefix("SIG"))]


@click.command("signal")
@name_argument
@click.argument("signal_name", metavar="SIGNAL", shell_complete=_complete)
@socket_option
@json_option
@pass_session
def signal_program(
    session: Session, *, name: str, signal_name: str, socket_path: str | None, as_json: bool
) -> int:
    """Send a signal to the main process of a program.

    NAME is a program such as mail-1, or a worker such as mail for all of its programs; SIGNAL is a name such
    as TERM or SIGTERM, or its number. A program that the signal ends starts again: to end one, use stop.

    Example: taskctl signal mail-1 USR1
    """
    with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
        rows = daemon.command(client, "signal", name, {"signal": signal_name})
    if as_json:
        echo_json({"programs": msgspec.to_builtins(rows)})
    else:
        for row in rows:
            click.echo(printable(f"{row.name}: {signal_name.upper()} sent to pid {row.pid}"))
    return exit_codes.OK
