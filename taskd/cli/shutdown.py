"""``taskctl shutdown``: end the daemon, and wait until it is gone."""

from __future__ import annotations

from threading import Event

import click

from taskd.base import exit_codes
from taskd.base.errors import ControlError, DaemonDownError
from taskd.base.lifecycle import Deadline
from taskd.cli import daemon
from taskd.cli.output import Failure, echo_json, json_option
from taskd.cli.programs import timeout_option
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient

_POLL_S = 0.05


@click.command()
@click.option("--cold", is_flag=True, help="Do not let running tasks finish: give them back to the broker.")
@timeout_option
@socket_option
@json_option
@pass_session
def shutdown(
    session: Session, *, cold: bool, timeout_s: float, socket_path: str | None, as_json: bool
) -> int:
    """End the daemon with all its programs, and wait until it is gone.

    Running tasks finish first, within stop_timeout. Asked again, the daemon waits on; with --cold it
    hurries. systemd does not start the daemon again after such an end.

    Example: taskctl shutdown --timeout 10m
    """
    deadline = Deadline.after(timeout_s)
    client = ControlClient(socket_path or session.config.supervisor.control_socket)
    client.call("shutdown", {"cold": cold})
    gone = not timeout_s or _wait(client, deadline)
    if as_json:
        echo_json({"cold": cold, "ended": bool(timeout_s) and gone})
    else:
        click.echo("taskd has ended" if timeout_s and gone else "taskd is ending")
    return exit_codes.OK


def _wait(client: ControlClient, deadline: Deadline) -> bool:
    """Return once nobody listens any more.  Raises: ``Failure`` when that is not in time."""
    pause = Event()
    while True:
        try:
            rows = daemon.fetch_status(client).programs
        except DaemonDownError:
            return True
        except ControlError:
            rows = []  # it closed the connection while it ended
        left = ", ".join(f"{row.name} is {row.state}" for row in rows if row.pid is not None)
        if deadline.passed:
            what = f"taskd is ending but not done in time{': ' + left if left else ''}"
            raise Failure(what, exit_codes.TEMPFAIL)
        pause.wait(min(_POLL_S, deadline.remaining_s()))
