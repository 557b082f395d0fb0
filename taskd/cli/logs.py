"""``taskctl logs``: the last output of programs, and what follows."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from threading import Event

import click
import msgspec

from taskd.base import clock, exit_codes
from taskd.base.errors import ControlError, RefusedError
from taskd.base.plural import counted
from taskd.cli import daemon
from taskd.cli.names import name_argument
from taskd.cli.output import (
    Failure,
    echo_json,
    json_line,
    json_option,
    local_time,
    printable,
    printable_block,
)
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.output.own import NAME

_FOLLOW_EVERY_S = 0.2
_MAX_LINES = 10_000
#: How a line of taskd itself begins where its form brings the time: as text or as JSON.
_DATED = re.compile(r"\d{4}-\d\d-\d\d |\{")


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """One line in the answer of ``logs``.  ``priority`` is that of syslog(3), if the line named one."""

    program: str
    pid: int
    number: int
    at: float
    priority: int | None = None
    text: str


class LogsAnswer(msgspec.Struct, frozen=True):
    """The answer of ``logs``; ``last`` is the number of the last line by program."""

    lines: list[LogLine]
    last: dict[str, int]


@click.command()
@name_argument
@click.option(
    "-f",
    "--follow",
    is_flag=True,
    help="Follow new output until Ctrl-C, also over restarts of taskd.",
)
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
    itself. Older lines are in the journal (journalctl TASKD_PROGRAM=mail-1) or in the files of log.directory.
    With --follow, --json prints one object a line.

    Example: taskctl logs mail-1 -n 20 -f
    """
    with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
        answer = _fetch(client, name, {"count": count})
        if as_json and not follow:
            echo_json({"lines": msgspec.to_builtins(answer.lines)})
            return exit_codes.OK
        try:
            _echo(answer.lines, as_json=as_json, many=len(answer.last) > 1)
            if follow:
                _follow(client, name, answer, as_json=as_json)
        except KeyboardInterrupt:
            if not follow:
                raise
            # Otherwise it is how one ends it.
    return exit_codes.OK


def _follow(client: ControlClient, name: str, answer: LogsAnswer, *, as_json: bool) -> None:
    """Show what comes, also from the next daemon when this one has ended, until Ctrl-C."""
    pause = Event()
    known = answer.last
    away = False
    shown_at = max((line.at for line in answer.lines), default=clock.now())
    while True:
        sys.stdout.flush()
        pause.wait(_FOLLOW_EVERY_S)
        try:
            answer = _fetch(client, name, {"after": {} if away else known})
        except ControlError as error:
            if isinstance(error, RefusedError) and not away:
                raise
            if not away:
                click.echo(f"taskctl: {printable(str(error))}; waiting for taskd", err=True)
            away = True
            continue
        # Another daemon counts its lines anew.
        lines = [line for line in answer.lines if line.at > shown_at] if away else answer.lines
        _echo(lines, as_json=as_json, many=len(answer.last) > 1, known={} if away else known)
        shown_at = max((line.at for line in answer.lines), default=shown_at)
        known = answer.last
        away = False


def _fetch(client: ControlClient, name: str, params: dict[str, object]) -> LogsAnswer:
    try:
        return daemon.typed(client.call("logs", {"name": name, **params}), LogsAnswer)
    except ControlError as error:
        if "no program" in str(error):
            raise Failure(str(error), exit_codes.USAGE) from None
        raise


def _echo(
    lines: Sequence[LogLine], *, as_json: bool, many: bool, known: dict[str, int] | None = None
) -> None:
    expected = dict(known or {})
    for line in lines:
        missing = line.number - expected.get(line.program, line.number - 1) - 1
        expected[line.program] = line.number
        if missing > 0:
            click.echo(
                f"taskctl: {counted(missing, 'line')} of {line.program} came too fast to follow", err=True
            )
        if as_json:
            click.echo(json_line(msgspec.to_builtins(line)))
            continue
        # Lines in the form for the journal leave the time to it; the others bring their own.
        is_dated = line.priority is None or (line.program == NAME and _DATED.match(line.text))
        time = "" if is_dated else f"{local_time(line.at)} "
        source = f"{line.program} | " if many else ""
        click.echo(f"{source}{time}{printable_block(line.text)}")
