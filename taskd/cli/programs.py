"""``taskctl start``, ``stop`` and ``restart``: change what is wanted, and wait until it is so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Event
from typing import Literal

import click
import msgspec

from taskd.base import exit_codes
from taskd.base.lifecycle import Deadline
from taskd.cli import daemon
from taskd.cli.names import name_argument
from taskd.cli.output import Failure, echo_json, json_option, printable
from taskd.cli.session import Session, duration, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.model.rows import ProgramRow

_POLL_S = 0.05
_BROKEN = ("BACKOFF", "FAILED")
_ENDED = ("DOWN", *_BROKEN)

Verb = Literal["start", "stop", "restart"]
Rows = Sequence[ProgramRow]

timeout_option = click.option(
    "--timeout",
    "timeout_s",
    type=duration,
    default="5m",
    show_default=True,
    help="How long to wait; 0 returns at once. The daemon carries out the request all the same.",
)


@dataclass(frozen=True, slots=True)
class _Change:
    """The request of an operator; ``former`` are the processes that a restart is to replace."""

    verb: Verb
    former: frozenset[int]

    def is_done(self, row: ProgramRow) -> bool:
        if self.verb == "stop":
            return row.state in _ENDED
        return row.state == "READY" and row.pid not in self.former

    def wait(self, client: ControlClient, rows: Rows, deadline: Deadline) -> Rows:
        """Ask again and again until the programs are as wanted; return their rows."""
        names = {row.name for row in rows}
        pause = Event()
        while waiting := [row for row in rows if not self.is_done(row)]:
            broken = [f"{row.name}: {row.detail or row.reason}" for row in waiting if row.state in _BROKEN]
            if broken:
                raise Failure(f"{self.verb} failed, taskd goes on trying:\n" + "\n".join(broken))
            if deadline.passed:
                states = ", ".join(f"{row.name} is {row.state}" for row in waiting)
                raise Failure(f"{self.verb} is under way but not done in time: {states}", exit_codes.TEMPFAIL)
            pause.wait(min(_POLL_S, deadline.remaining_s()))
            rows = [row for row in daemon.fetch_status(client).programs if row.name in names]
        return rows


@click.command()
@name_argument
@timeout_option
@socket_option
@json_option
@pass_session
def start(session: Session, *, name: str, timeout_s: float, socket_path: str | None, as_json: bool) -> int:
    """Start a program and wait until it is ready.

    NAME is a program such as mail-1, or a worker such as mail for all of its programs.

    Example: taskctl start mail
    """
    return _run(session, "start", name, timeout_s=timeout_s, socket_path=socket_path, as_json=as_json)


@click.command()
@name_argument
@timeout_option
@socket_option
@json_option
@pass_session
def stop(session: Session, *, name: str, timeout_s: float, socket_path: str | None, as_json: bool) -> int:
    """Stop a program; running tasks finish first.

    NAME is a program such as mail-1, or a worker such as mail for all of its programs. The program stays
    stopped until you start it again.

    Example: taskctl stop mail-1 --timeout 30s
    """
    return _run(session, "stop", name, timeout_s=timeout_s, socket_path=socket_path, as_json=as_json)


@click.command()
@name_argument
@timeout_option
@socket_option
@json_option
@click.option(
    "--rolling",
    is_flag=True,
    help="Replace one after the other; the new one is ready before the old one leaves.",
)
@pass_session
def restart(
    session: Session, *, name: str, rolling: bool, timeout_s: float, socket_path: str | None, as_json: bool
) -> int:
    """Stop a program and start it again.

    Running tasks finish first. NAME is a program such as mail-1, or a worker such as mail for all of its
    programs. --rolling puts new code into use without a gap. When the new programs keep dying, the old ones
    stay. A program that replaces another has a number of its own, such as mail-2 after mail-1.

    Example: taskctl restart mail --rolling
    """
    if rolling:
        return _roll(session, name, timeout_s=timeout_s, socket_path=socket_path, as_json=as_json)
    return _run(session, "restart", name, timeout_s=timeout_s, socket_path=socket_path, as_json=as_json)


def _run(
    session: Session, verb: Verb, name: str, *, timeout_s: float, socket_path: str | None, as_json: bool
) -> int:
    deadline = Deadline.after(timeout_s)
    with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
        rows = daemon.command(client, verb, name)
        ending = [row.pid for row in rows if row.state in ("DRAINING", "STOPPING")]
        if timeout_s:
            change = _Change(verb, frozenset(pid for pid in ending if pid is not None))
            rows = change.wait(client, rows, deadline)
    _show(rows, as_json=as_json)
    return exit_codes.OK


def _roll(session: Session, name: str, *, timeout_s: float, socket_path: str | None, as_json: bool) -> int:
    deadline = Deadline.after(timeout_s)
    with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
        names = {daemon.group_of(row) for row in daemon.command(client, "roll", name)}
        pause = Event()
        while True:
            status = daemon.fetch_status(client)
            groups = {each: status.groups[each] for each in sorted(names) if each in status.groups}
            troubles = [f"{name}: {group.trouble}" for name, group in groups.items() if group.trouble]
            if troubles:
                raise Failure("the daemon gave up the rolling restart:\n" + "\n".join(troubles))
            if all(group.settled for group in groups.values()) or not timeout_s:
                break
            if deadline.passed:
                raise Failure("the rolling restart is under way but not done in time", exit_codes.TEMPFAIL)
            pause.wait(min(_POLL_S, deadline.remaining_s()))
    rows = [row for row in status.programs if daemon.group_of(row) in names]
    _show(rows, as_json=as_json)
    return exit_codes.OK


def _show(rows: Rows, *, as_json: bool) -> None:
    if as_json:
        echo_json({"programs": msgspec.to_builtins(rows)})
    else:
        for row in rows:
            click.echo(printable(f"{row.name}: {row.state}"))
