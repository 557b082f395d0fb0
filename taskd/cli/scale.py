"""``taskctl scale``: change how many programs of a worker run."""

from __future__ import annotations

from threading import Event

import click
import msgspec

from taskd.base import exit_codes
from taskd.base.lifecycle import Deadline
from taskd.base.plural import counted
from taskd.cli import daemon
from taskd.cli.names import name_argument
from taskd.cli.output import Failure, echo_json, json_option
from taskd.cli.programs import timeout_option
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient

_POLL_S = 0.05


class _Group(msgspec.Struct, frozen=True):
    settled: bool
    trouble: str


class _Groups(msgspec.Struct, frozen=True):
    groups: dict[str, _Group]


@click.command()
@name_argument
@click.argument("processes", type=click.IntRange(1, 1000))
@timeout_option
@socket_option
@json_option
@pass_session
def scale(
    session: Session, *, name: str, processes: int, timeout_s: float, socket_path: str | None, as_json: bool
) -> int:
    """Set the number of programs of a worker, until the next reload.

    NAME is a worker such as mail. New programs start at once. Surplus programs, idle ones first, finish
    their tasks and end. The command waits until all wanted programs are ready. To keep the number, change
    processes in the configuration.

    Example: taskctl scale mail 4
    """
    deadline = Deadline.after(timeout_s)
    with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
        answer = client.call("scale", {"name": name, "processes": processes})
        if timeout_s:
            _wait(client, name, deadline)
    if as_json:
        echo_json(daemon.typed(answer, dict[str, object]))
    else:
        click.echo(f"{name}: {counted(processes, 'process', 'processes')}")
    return exit_codes.OK


def _wait(client: ControlClient, name: str, deadline: Deadline) -> None:
    """Return once the group is as it is wanted.  Raises: ``Failure`` when it is not, or not in time."""
    pause = Event()
    while True:
        group = daemon.typed(client.call("status"), _Groups).groups.get(name)
        if group is None or (group.settled and not group.trouble):
            return
        if group.trouble:
            raise Failure(f"{name}: {group.trouble}")
        if deadline.passed:
            raise Failure(f"{name} is being scaled but not done in time", exit_codes.TEMPFAIL)
        pause.wait(min(_POLL_S, deadline.remaining_s()))
