"""``taskctl top``: what the programs do now, again and again."""

from __future__ import annotations

import os
import select
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click
import msgspec

from taskd.base import clock, exit_codes
from taskd.base.lifecycle import Deadline
from taskd.base.plural import counted
from taskd.cli import daemon
from taskd.cli.memory import memory
from taskd.cli.output import age, echo_json, echo_table, fitting, json_option, printable, table
from taskd.cli.rates import LoadSample, Pace, pace
from taskd.cli.session import Session, duration, pass_session
from taskd.cli.status import socket_option
from taskd.host import procinfo
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.model.rows import ProgramRow

if TYPE_CHECKING:
    from rich.console import RenderableType

_COLUMNS = (
    "NAME",
    "STATE",
    "FOR",
    "PID",
    "BUSY",
    "RESERVED",
    "WAITING",
    "TASKS/S",
    "CPU",
    "MEMORY",
    "OLDEST",
)
_NUMBERS = _COLUMNS[2:]
_SPARE = ("OLDEST", "RESERVED", "PID", "FOR", "WAITING", "MEMORY", "CPU")
#: Terminals that cannot go back to a line.
_DUMB = frozenset({"dumb", "unknown"})
_QUIT = frozenset(b"qQ\x03\x1b")


@click.command()
@click.option(
    "--every", "every_s", type=duration, default="2s", show_default=True, help="How often to look again."
)
@click.option("--once", is_flag=True, help="Print one table, measured over --every, and end.")
@click.option(
    "--timeout",
    "timeout_s",
    type=duration,
    default="0",
    show_default=True,
    help="End after this time. 0 goes on until q.",
)
@socket_option
@json_option
@pass_session
def top(
    session: Session, *, every_s: float, once: bool, timeout_s: float, socket_path: str | None, as_json: bool
) -> int:
    """Show what the programs do now: load, tasks a second, processor, memory.

    In a terminal the table is renewed until q is pressed. Elsewhere, and with --json, each look prints one
    table or one line of JSON.

    MEMORY is the fair share (PSS) of all processes of a program, as in taskctl status. Root sees it and CPU
    of all programs, other users of their own; of others MEMORY is RSS, and says so.

    Example: taskctl top --every 1s
    """
    path = socket_path or session.config.supervisor.control_socket
    deadline = Deadline.after(timeout_s) if timeout_s else Deadline(float("inf"))
    can_renew = sys.stdout.isatty() and sys.stdin.isatty() and os.environ.get("TERM") not in _DUMB
    with ControlClient(path) as client:
        if can_renew and not once and not as_json:
            return _live(client, every_s, deadline)
        try:
            for former, now in _looks(client, every_s, deadline, listen=False):
                if former is None and once:
                    continue
                _echo(former, now, as_json=as_json)
                if once:
                    break
        except KeyboardInterrupt:
            if once:
                raise
            # Otherwise it is how one ends it.
    return exit_codes.OK


def _echo(former: LoadSample | None, now: LoadSample, *, as_json: bool) -> None:
    if as_json:
        echo_json(_as_json(former, now), in_a_line=True)
        return
    echo_table(_COLUMNS, _rows(former, now), right=_NUMBERS, spare=_SPARE)
    click.echo("")


def _live(client: ControlClient, every_s: float, deadline: Deadline) -> int:
    from rich.live import Live

    with _keys(), Live(auto_refresh=False, screen=True) as live:
        try:
            for former, now in _looks(client, every_s, deadline, listen=True):
                live.update(_screen(former, now, live.console.width), refresh=True)
        except KeyboardInterrupt:
            pass
    return exit_codes.OK


def _screen(former: LoadSample | None, now: LoadSample, width: int) -> RenderableType:
    from rich.console import Group
    from rich.text import Text

    wanted = [row for row in now.rows.values() if row.wanted]
    ready = sum(row.state == "READY" for row in wanted)
    paces = [pace(name, former, now) for name in now.rows]
    total = sum(each.tasks_per_s or 0.0 for each in paces)
    head = Text(f"taskd: {ready} of {counted(len(wanted), 'program')} ready, {total:.1f} tasks/s; q ends\n")
    columns, rows = fitting(_COLUMNS, _rows(former, now), width, _SPARE)
    return Group(head, table(columns, rows, right=_NUMBERS))


def _looks(
    client: ControlClient, every_s: float, deadline: Deadline, *, listen: bool
) -> Iterator[tuple[LoadSample | None, LoadSample]]:
    """Yield each look with the one before it, until the deadline, or a key that quits.

    Raises: ``ControlError`` when the daemon is gone.
    """
    former = None
    while True:
        now = _look(client)
        yield former, now
        former = now
        if deadline.passed or _pause(min(every_s, deadline.remaining_s()), listen=listen):
            return


def _look(client: ControlClient) -> LoadSample:
    rows = daemon.fetch_status(client).programs
    cpu_s = {
        row.pid: spent
        for row in rows
        if row.pid is not None and (spent := procinfo.tree_cpu_s(row.pid)) is not None
    }
    return LoadSample(clock.monotonic(), {row.name: row for row in rows}, cpu_s)


def _pause(seconds: float, *, listen: bool) -> bool:
    """Wait; return whether a key was pressed that quits."""
    until = clock.monotonic() + seconds
    while (left_s := until - clock.monotonic()) > 0:
        if not select.select([sys.stdin] if listen else [], [], [], left_s)[0]:
            return False
        # Not sys.stdin.read: what it keeps in its buffer select does not see.
        keys = os.read(sys.stdin.fileno(), 1024)
        if not keys or _QUIT.intersection(keys):
            return True
    return False


@contextmanager
def _keys() -> Iterator[None]:
    """Have each key at once, without an echo."""
    former = termios.tcgetattr(sys.stdin)
    try:
        tty.setcbreak(sys.stdin)
        yield
    finally:
        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, former)


def _rows(former: LoadSample | None, now: LoadSample) -> Sequence[Sequence[object]]:
    return [_row(row, pace(name, former, now)) for name, row in now.rows.items()]


def _row(row: ProgramRow, speed: Pace) -> tuple[object, ...]:
    return (
        printable(row.name),
        daemon.state_of(row),
        age(clock.now() - row.since),
        "" if row.pid is None else row.pid,
        row.busy,
        row.reserved,
        row.depth,
        "" if speed.tasks_per_s is None else f"{speed.tasks_per_s:.1f}",
        "" if speed.cpu is None else f"{speed.cpu:.0%}",
        memory(row),
        age(row.oldest_s) if row.busy else "",
    )


def _as_json(former: LoadSample | None, now: LoadSample) -> dict[str, object]:
    programs = []
    for name, row in now.rows.items():
        speed = pace(name, former, now)
        programs.append({**msgspec.to_builtins(row), "tasks_per_s": speed.tasks_per_s, "cpu": speed.cpu})
    return {"at": clock.now(), "programs": programs}
