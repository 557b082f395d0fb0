"""``taskctl plan`` and ``taskctl reload``: what a changed configuration means, and putting it in force."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event

import click
import msgspec

from taskd.base import exit_codes
from taskd.base.errors import DaemonDownError
from taskd.base.lifecycle import Deadline
from taskd.base.plural import counted
from taskd.cli import daemon
from taskd.cli.former import former_brokers, measured
from taskd.cli.output import Failure, echo_json, echo_table, json_option, printable
from taskd.cli.programs import timeout_option
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient

_POLL_S = 0.05


class Decided(msgspec.Struct, frozen=True):
    """The fate of one program in a reload."""

    name: str
    group: str
    action: str
    why: list[str]


class ReloadAnswer(msgspec.Struct, frozen=True):
    """The answer of ``plan`` and ``reload``."""

    file: str
    revision: int = msgspec.field(name="generation")
    ok: bool
    problems: list[str]
    programs: list[Decided]
    changes: list[str]
    needs_restart: list[str]
    #: Remarks for the operator; a daemon of an older version sends none.
    notes: list[str] = []


@click.command()
@socket_option
@json_option
@pass_session
def plan(session: Session, *, socket_path: str | None, as_json: bool) -> int:
    """Show what a reload would do to each program, and why; nothing is changed.

    keep: left alone. live: new settings without a restart. add, drain: one more, one less. roll: replaced.
    Where the worker may surge, the new one is ready before the old one leaves.

    Example: taskctl plan
    """
    with _reaching(session, socket_path) as client:
        answer = ask(client, "plan")
    return _show(answer, as_json=as_json)


@click.command()
@click.option("--wait", is_flag=True, help="Wait until every program is as it should be.")
@timeout_option
@socket_option
@json_option
@pass_session
def reload(session: Session, *, wait: bool, timeout_s: float, socket_path: str | None, as_json: bool) -> int:
    """Put the changed configuration in force, as SIGHUP does.

    A file with an error changes nothing. When new programs keep dying, the daemon takes them back and keeps
    the former ones; then --wait exits with status 1. A reload during another one takes over from it.

    Example: taskctl reload --wait
    """
    deadline = Deadline.after(timeout_s)
    with _reaching(session, socket_path) as client:
        answer = ask(client, "reload")
        if answer.notes and not as_json:
            _echo_former(client)
        if not (as_json and wait and answer.ok):
            status = _show(answer, as_json=as_json)
            if not answer.ok or not wait:
                return status
        progress = _wait(client, answer.revision, deadline)
    if as_json:
        told = {key: value for key, value in msgspec.to_builtins(progress).items() if value is not None}
        echo_json({**msgspec.to_builtins(answer), **told})
    if progress.troubles:
        raise Failure(
            "\n".join(
                [
                    "the new configuration was not put in force everywhere:",
                    *filter(None, [progress.reach]),
                    *progress.troubles,
                ]
            )
        )
    return exit_codes.OK


def ask(client: ControlClient, method: str) -> ReloadAnswer:
    """Call ``plan`` or ``reload``.  Raises: ``ControlError``."""
    return daemon.typed(client.call(method), ReloadAnswer)


@contextmanager
def _reaching(session: Session, socket_path: str | None) -> Iterator[ControlClient]:
    """Connect to the daemon, also when the file is wrong: then it is for the daemon to refuse it.

    Raises: ``ConfigError`` when the file is wrong and the daemon is not there.
    """
    path, wrong = session.daemon_socket(socket_path)
    try:
        with ControlClient(path) as client:
            yield client
    except DaemonDownError as error:
        raise wrong or error from None


def _show(answer: ReloadAnswer, *, as_json: bool) -> int:
    if as_json:
        echo_json(msgspec.to_builtins(answer))
    else:
        for problem in answer.problems:
            click.echo(printable(problem), err=True)
        if not answer.ok:
            click.echo("taskctl: the file was refused; nothing has changed", err=True)
        elif answer.programs:
            rows = [(each.name, each.action, "; ".join(each.why)) for each in answer.programs]
            echo_table(("PROGRAM", "ACTION", "WHY"), rows)
        for note in answer.notes:
            click.echo(printable(note), err=True)
        for change in answer.needs_restart:
            click.echo(printable(f"only a restart of taskd changes {change}"), err=True)
    return exit_codes.OK if answer.ok else exit_codes.CONFIG


def _echo_former(client: ControlClient) -> None:
    for former in map(measured, former_brokers(daemon.fetch_status(client))):
        if former.waiting is not None:
            text = f"{former.address}: {counted(former.waiting, 'waits', 'wait')}, {former.dead} dead"
            click.echo(printable(text), err=True)


def _wait(client: ControlClient, revision: int, deadline: Deadline) -> daemon.Progress:
    pause = Event()
    while True:
        status = daemon.fetch_status(client)
        progress = daemon.progress_of(status)
        if progress.outcome != "under way" and progress.revision >= revision:
            return progress
        if deadline.passed:
            late = [
                f"{row.name} is {row.state}: {row.reason}" for row in status.programs if row.state != "READY"
            ]
            raise Failure(
                "the reload is under way but not done in time\n" + "\n".join(late), exit_codes.TEMPFAIL
            )
        pause.wait(min(_POLL_S, deadline.remaining_s()))
