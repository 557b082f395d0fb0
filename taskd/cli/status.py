"""``taskctl status``: what the daemon runs, and how it fares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import click
import msgspec

from taskd.base import clock, exit_codes
from taskd.base.errors import DaemonDownError
from taskd.base.jumps import in_words
from taskd.base.plural import counted
from taskd.cli import children, daemon, last_state
from taskd.cli.former import former_brokers
from taskd.cli.memory import memory
from taskd.cli.output import (
    age,
    echo_json,
    echo_table,
    json_option,
    local_time,
    printable,
    printable_block,
)
from taskd.cli.session import Session, duration, pass_session
from taskd.cli.troubles import troubles_of
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.model.rows import ProgramRow

socket_option = click.option(
    "--socket",
    "socket_path",
    metavar="PATH",
    help="Path of the control socket. With it, taskctl reads no configuration.",
)

_COLUMNS = (
    "NAME",
    "STATE",
    "FOR",
    "PID",
    "RESTARTS",
    "BUSY",
    "RESERVED",
    "WAITING",
    "DONE",
    "MEMORY",
    "OLDEST",
)
_NUMBERS = _COLUMNS[2:]
_SPARE = ("OLDEST", "RESERVED", "RESTARTS", "PID", "MEMORY", "DONE", "FOR")


@click.command()
@click.option(
    "--timeout",
    "timeout_s",
    type=duration,
    default="5s",
    show_default=True,
    help="How long to wait for the answer.",
)
@click.option("--children", "with_children", is_flag=True, help="Show the processes of the pools, too.")
@socket_option
@json_option
@pass_session
def status(
    session: Session, *, timeout_s: float, with_children: bool, socket_path: str | None, as_json: bool
) -> int:
    """Show the state and load of all programs.

    MEMORY is the fair share (PSS) of all processes of a program: each page that several share counts in
    parts. Root sees it of all programs, other users of their own; of others MEMORY is RSS, and says so.

    Above the table stand the troubles that need somebody, below it the reasons of programs that are not
    ready. With --children a second table shows what each process
    of a pool does, for how long, and how long ago it reported (REPORTED). The supervisor hears that with
    each heartbeat: once a second while tasks run, else every 15 s.

    The daemon does not look into the broker. taskctl queues and taskctl doctor name a queue in which
    messages wait and that no worker serves.

    When the daemon is down, the exit status is 69, and taskctl shows the state file that the daemon left.

    Example: taskctl status --json
    """
    path, wrong = session.daemon_socket(socket_path)
    try:
        with ControlClient(path) as client:
            answer = daemon.fetch_status(client, timeout_s)
            rows = children.fetch(client) if with_children else None
    except DaemonDownError as error:
        if wrong is not None:
            raise wrong from None
        return _echo_last(path, error, as_json=as_json)
    if as_json:
        more = {} if rows is None else {"children": msgspec.to_builtins(rows)}
        echo_json({"running": True, **msgspec.to_builtins(answer), **more})
        return exit_codes.OK
    _echo_daemon(answer)
    _echo_troubles(answer.taskd, answer.programs, now=clock.now())
    _echo_programs(answer.programs, now=clock.now())
    if rows is not None:
        click.echo("")
        echo_table(children.COLUMNS, [children.cells(row) for row in rows], right=("PID", "FOR", "REPORTED"))
    return exit_codes.OK


def _echo_last(control_socket: str, error: DaemonDownError, *, as_json: bool) -> int:
    """Show the last known state of a daemon that is down."""
    state = last_state.read(control_socket)
    if as_json:
        echo_json({"running": False, "error": str(error), "last": msgspec.to_builtins(state)})
        return exit_codes.UNAVAILABLE
    click.echo(f"taskctl: {printable(str(error))}", err=True)
    if state is not None:
        click.echo(f"{last_state.summary(state)}. Last known:\n")
        _echo_troubles(state.taskd, state.programs, now=state.written)
        _echo_programs(state.programs, now=state.written)
    return exit_codes.UNAVAILABLE


def _echo_programs(rows: Sequence[ProgramRow], *, now: float) -> None:
    echo_table(_COLUMNS, [_row(row, now) for row in rows], right=_NUMBERS, spare=_SPARE)
    # A reason that many programs share (the broker is away, the load needs none of them) is said once.
    said: dict[str, list[str]] = {}
    for row in rows:
        text = "" if row.state == "READY" else row.detail.rstrip() or row.reason
        if text:
            said.setdefault(text, []).append(row.name)
    for text, names in said.items():
        click.echo(f"\n{printable(', '.join(names))}: {printable_block(text)}")


def _echo_troubles(taskd: Mapping[str, object], rows: Sequence[ProgramRow], *, now: float) -> None:
    """Print the worst first: alarms, then the troubles of the daemon and of programs that work."""
    lines = [f"ALARM {row.name}: {row.alarm}" for row in rows if row.alarm]
    for name, text, since in troubles_of(taskd, rows):
        lines.append(f"TROUBLE {name}: {text}" + ("" if since is None else f" (for {age(now - since)})"))
    for line in lines:
        click.echo(printable(line) + "\n")


def _echo_daemon(answer: daemon.Status) -> None:
    facts = answer.taskd
    uptime_s = facts.get("uptime_s")
    running = f", running for {age(uptime_s)}" if isinstance(uptime_s, (int, float)) else ""
    who = f"taskd {facts.get('version', '')} on {facts.get('host', '')}, pid {facts.get('pid')}{running}"
    wanted = facts.get("programs_wanted")
    wanted = counted(wanted, "program") if isinstance(wanted, int) else wanted
    ready = f"{facts.get('programs_ready')} of {wanted} ready"
    click.echo(f"{who}: {facts.get('state')}, {ready}\n")
    for former in former_brokers(answer):
        click.echo(printable(f"no worker here takes what waits in {former.address}: {former.command}") + "\n")
    match facts.get("clock_jump"):
        case {"at": float(at), "by_s": float(by_s)}:
            click.echo(
                f"{in_words(by_s)} at {local_time(at)}: tasks due by the time of day are early or late\n"
            )
    match facts.get("reload"):
        case {"outcome": "failed", "troubles": list(troubles)} if troubles:
            reach = daemon.progress_of(answer).reach
            blocks = (printable_block(str(each)) for each in troubles)
            click.echo("\n".join([f"the last reload failed: {printable(reach)}".rstrip(), *blocks, ""]))


def _row(row: ProgramRow, now: float) -> tuple[object, ...]:
    return (
        row.name,
        daemon.state_of(row),
        age(now - row.since if row.for_s is None else row.for_s),
        "" if row.pid is None else row.pid,
        row.restarts,
        row.busy,
        row.reserved,
        row.depth,
        row.done,
        memory(row),
        age(row.oldest_s) if row.busy else "",
    )
