"""``taskctl logs``: the last output of programs, and what follows."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from threading import Event

import click
import msgspec

from taskd import exit_codes
from taskd.cli import daemon
from taskd.cli.names import name_argument
from taskd.cli.output import Failure, echo_json, json_option, local_time, printable
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.errors import ControlError
from taskd.supervisor.control.client import ControlClient

_FOLLOW_EVERY_S = 0.2
_MAX_LINES = 10_000


class Line(msgspec.Struct, frozen=True, kw_only=True):
    """One line in the answer of ``logs``.  ``priority`` is that of syslog(3), if the line named one."""

    program: str
    pid: int
    number: int
    at: float
    priority: int | None = None
    text: str


class Answer(msgspec.Struct, frozen=True):
    """The answer of ``logs``; ``last`` is the number of the last line by program."""

    lines: list[Line]
    last: dict[str, int]


@click.command()
@name_argument
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on, until Ctrl-C.")
@click.option(
    "-n",
    "--lines",
    "count",
    type=click.IntRange(0, _MAX_LINES),
    default=100,
    show_default=True,
    help="How many lines at most; the daemon keeps log.tail bytes of each program.",
)
@socket_option
@json_option
@pass_session
def logs(
    session: Session, *, name: str, follow: bool, count: int, socket_path: str | None, as_json: bool
) -> int:
    """Show the last output of a program.

    NAME is a program such as mail-1, a worker such as mail for all of its programs, or taskd for the daemon
    itself.  Older lines are in the journal (journalctl TASKD_PROGRAM=mail-1), or in the files of
    log.directory.  With --follow, --json prints one object a line.

    Example: taskctl logs mail-1 -n 20 -f
    """
    with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
        answer = _fetch(client, name, {"count": count})
        many = len(answer.last) > 1
        if as_json and not follow:
            echo_json({"lines": msgspec.to_builtins(answer.lines)})
            return exit_codes.OK
        _echo(answer.lines, as_json=as_json, many=many)
        pause = Event()
        while follow:
            sys.stdout.flush()
            pause.wait(_FOLLOW_EVERY_S)
            former = answer.last
            answer = _fetch(client, name, {"after": former})
            _echo(answer.lines, as_json=as_json, many=many, known=former)
    return exit_codes.OK


def _fetch(client: ControlClient, name: str, params: dict[str, object]) -> Answer:
    try:
        return daemon.typed(client.call("logs", {"name": name, **params}), Answer)
    except ControlError as error:
        if "no program" in str(error):
            raise Failure(str(error)) from None
        raise


def _echo(lines: Sequence[Line], *, as_json: bool, many: bool, known: dict[str, int] | None = None) -> None:
    expected = dict(known or {})
    for line in lines:
        missing = line.number - expected.get(line.program, line.number - 1) - 1
        expected[line.program] = line.number
        if missing > 0:
            click.echo(f"taskctl: {missing} lines of {line.program} came too fast to follow", err=True)
        if as_json:
            click.echo(msgspec.json.encode(line))
            continue
        # Lines in the form for the journal leave the time to it; the others bring their own.
        time = "" if line.priority is None else f"{local_time(line.at)} "
        source = f"{line.program} | " if many else ""
        click.echo(f"{source}{time}{printable(line.text)}")
