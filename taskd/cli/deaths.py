"""``taskctl deaths``: how programs ended, from the running daemon or from what it left."""

from __future__ import annotations

from collections.abc import Sequence

import click
import msgspec

from taskd.base import clock, exit_codes
from taskd.base.errors import ControlError
from taskd.base.plural import counted
from taskd.cli import daemon
from taskd.cli.children import in_words
from taskd.cli.names import complete_programs
from taskd.cli.output import Failure, age, echo_json, echo_table, json_option, local_time, printable, size
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.supervisor.control.client import ControlClient
from taskd.supervisor.deaths import register
from taskd.supervisor.deaths.alike import folded
from taskd.supervisor.deaths.certificate import Certificate

_COLUMNS = ("WHEN", "PROGRAM", "PID", "LIVED", "STATE", "CAUSE", "MEMORY", "THEN")


class DeathsAnswer(msgspec.Struct, frozen=True):
    """The answer of ``deaths``, oldest first."""

    deaths: list[Certificate]


@click.command()
@click.argument("name", required=False, shell_complete=complete_programs)
@click.option(
    "-n",
    "--count",
    type=click.IntRange(1),
    default=20,
    show_default=True,
    help="Show this many, the latest ones.",
)
@click.option(
    "--all", "everything", is_flag=True, help="Show orderly ends too, and equal ends of programs one by one."
)
@socket_option
@json_option
@pass_session
def deaths(
    session: Session,
    *,
    name: str | None,
    count: int,
    everything: bool,
    socket_path: str | None,
    as_json: bool,
) -> int:
    """Show how programs ended: a table, and below it the certificate of the last one.

    Ends that somebody asked for and that needed no force are left out; equal ends in a row are one row.
    NAME is a program such as mail-1, or a worker such as mail for all of its programs. When the daemon is
    down, taskctl reads the register in supervisor.state_directory instead.

    Example: taskctl deaths mail-1 -n 5
    """
    try:
        with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
            params: dict[str, object] = {"count": count, "folded": not everything}
            params |= {"name": name} if name else {}
            found: Sequence[Certificate] = daemon.typed(client.call("deaths", params), DeathsAnswer).deaths
    except ControlError as error:
        if "no program" in str(error):
            raise Failure(str(error), exit_codes.USAGE) from None
        if "not running" not in str(error) or socket_path is not None:
            raise
        found = _left_behind(session, name, count, everything=everything)
        click.echo("taskd is not running; from its register:", err=True)
    if as_json:
        echo_json({"deaths": msgspec.to_builtins(found)})
        return exit_codes.OK
    if not found:
        click.echo("no deaths" if everything else "no deaths but orderly ends; --all shows them")
        return exit_codes.OK
    echo_table(_COLUMNS, [_row(each) for each in found], right=("PID", "LIVED", "MEMORY"))
    _echo_whole(found[-1])
    return exit_codes.OK


def _left_behind(
    session: Session, name: str | None, count: int, *, everything: bool
) -> Sequence[Certificate]:
    path = register.path_in(session.config.supervisor.state_directory)
    try:
        found = register.read(path)
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise Failure(f"taskd is not running, and its register cannot be read: {error}") from error
    except register.Unreadable as error:
        raise Failure(f"taskd is not running, and {error}") from error
    chosen = [each for each in found if name is None or name in {each.program, each.group}]
    return (chosen if everything else folded(chosen))[-count:]


def _row(each: Certificate) -> tuple[object, ...]:
    return (
        local_time(each.at),
        f"{each.program} child" if each.kind == "child" else each.program,
        each.pid,
        age(each.lived_s),
        each.state,
        f"{each.cause} ({each.count} times)" if each.count > 1 else each.cause,
        size(each.max_rss_bytes),
        each.decision,
    )


def _facts_of_a_program(last: Certificate) -> list[str]:
    ready = "was never ready" if last.ready_s is None else f"did its work for {age(last.ready_s)}"
    asked = "was asked to end" if last.asked else "was not asked to end"
    times = f"; {last.count} ended like this, the last one is shown" if last.count > 1 else ""
    return [f"{ready}, {asked}; {last.reason}{times}", f"used {last.cpu_s:.2f} s of CPU"]


def _facts_of_a_child(last: Certificate) -> list[str]:
    times = f"; {last.count} ended like this, the last one is shown" if last.count > 1 else ""
    return [f"{last.cause} after {age(last.lived_s)}{times}", last.decision]


def _echo_whole(last: Certificate) -> None:
    who = f"pool child of {last.program}" if last.kind == "child" else last.program
    click.echo(f"\n{who} (pid {last.pid}), {age(clock.now() - last.at)} ago:")
    facts = _facts_of_a_child(last) if last.kind == "child" else _facts_of_a_program(last)
    if last.busy or last.done:
        facts.append(
            f"had finished {counted(last.done, 'task')} and ran {last.busy}, the oldest since "
            f"{age(last.oldest_s)}, {age(last.heard_s)} before its end"
        )
    if last.out_of_memory:
        facts.append("the kernel killed a process of this daemon for lack of memory at that time")
    if last.waiting:
        facts.append(f"waited: {last.waiting}")
    for fact in facts:
        click.echo(f"  {printable(fact)}")
    parts = {
        "tasks that ran": "\n".join(
            f"{printable(task.name)} {printable(task.id)} for {age(task.age_s)} in pid {task.pid}"
            for task in last.running
        ),
        "pool children": "\n".join(in_words(child) for child in last.children),
        "last words": f"{last.words}\n{last.traceback}".strip(),
        "stacks when it hung": last.stack,
        "last output": "\n".join(last.output),
    }
    for title, text in parts.items():
        if text:
            indented = "\n".join(f"    {printable(line)}" for line in text.split("\n"))
            click.echo(f"  {title}:\n{indented}")
