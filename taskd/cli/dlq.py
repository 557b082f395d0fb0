"""``taskctl dlq``: messages that could not be run, with the evidence of their end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from taskd.base import clock, exit_codes
from taskd.base.plural import counted
from taskd.brokers.desk import DeadFilter, Desk
from taskd.cli import letters
from taskd.cli.desk import open_desk
from taskd.cli.groups import CommandGroup
from taskd.cli.offers import complete_dead_letters, complete_queues, complete_tasks
from taskd.cli.output import Failure, echo_json, echo_table, json_option
from taskd.cli.pacing import hand_over, per_second
from taskd.cli.session import Session, duration, pass_session

Command = TypeVar("Command", bound=Callable[..., object])

ids_argument = click.argument(
    "ids", nargs=-1, type=int, metavar="[ID]...", shell_complete=complete_dead_letters
)
all_option = click.option("--all", "everything", is_flag=True, help="All dead letters.")
at_most_option = click.option("--limit", type=click.IntRange(1), help="At most this many, the oldest first.")


def filter_options(command: Command) -> Command:
    """Add ``--task``, ``--queue`` and ``--since``; together they mean what matches all of them."""
    for option in (
        click.option(
            "--since",
            "since_s",
            type=duration,
            metavar="DURATION",
            help="Only dead letters of this period, such as 1h.",
        ),
        click.option("--queue", shell_complete=complete_queues, help="Only dead letters of this queue."),
        click.option(
            "--task", metavar="NAME", shell_complete=complete_tasks, help="Only dead letters of this task."
        ),
    ):
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def dlq() -> None:
    """See, requeue or delete dead letters.

    A dead letter is a message that could not run, or that killed too many processes.

    Example: taskctl dlq list
    """


@dlq.command("list")
@filter_options
@click.option(
    "--limit", type=click.IntRange(1), default=100, show_default=True, help="Show at most this many."
)
@json_option
@pass_session
def list_(
    session: Session, *, task: str | None, queue: str | None, since_s: float | None, limit: int, as_json: bool
) -> int:
    """List dead letters, the newest first.

    Example: taskctl dlq list --task shop.send_receipt --since 1h
    """
    with open_desk(session.config) as desk:
        found = desk.dead_letters(_filter(task, queue, since_s), limit + 1)
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        echo_json({"letters": [letters.facts(letter) for letter in found], "more": more})
    elif not found:
        click.echo("no dead letters")
    else:
        echo_table(letters.COLUMNS, [letters.row(letter) for letter in found], right=("ID", "DEATHS"))
        if more:
            click.echo(f"\nthere are more than {limit}; --limit shows more of them", err=True)
    return exit_codes.OK


@dlq.command()
@click.argument("letter_id", type=int, metavar="ID", shell_complete=complete_dead_letters)
@json_option
@pass_session
def show(session: Session, *, letter_id: int, as_json: bool) -> int:
    """Show one dead letter with its evidence, headers and body.

    Example: taskctl dlq show 12
    """
    with open_desk(session.config) as desk:
        dead = desk.dead_letter(letter_id)
    if dead is None:
        raise Failure(f"there is no dead letter {letter_id}; taskctl dlq list shows all")
    if as_json:
        echo_json(letters.all_facts(dead))
    else:
        for line in letters.lines(dead):
            click.echo(line)
    return exit_codes.OK


@dlq.command()
@ids_argument
@filter_options
@all_option
@at_most_option
@click.option("--rate", type=per_second, metavar="RATE", help='Highest rate, such as "10/s" or "100/m".')
@json_option
@pass_session
def requeue(
    session: Session,
    *,
    ids: Sequence[int],
    task: str | None,
    queue: str | None,
    since_s: float | None,
    everything: bool,
    limit: int | None,
    rate: float | None,
    as_json: bool,
) -> int:
    """Send dead letters to their queues again, the oldest first.

    They count as never tried. Ctrl-C ends a paced run between two messages; no message is lost.

    Example: taskctl dlq requeue --task shop.send_receipt --rate 10/s
    """
    which = _chosen(ids, _filter(task, queue, since_s), everything)
    with open_desk(session.config) as desk:
        found = _ids(desk, which, limit)
        count = hand_over(found, desk.requeue_dead, "requeued", rate=rate)
    return _report("requeued", count, ids or found, as_json)


@dlq.command()
@ids_argument
@filter_options
@all_option
@at_most_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_session
def purge(
    session: Session,
    *,
    ids: Sequence[int],
    task: str | None,
    queue: str | None,
    since_s: float | None,
    everything: bool,
    limit: int | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete dead letters for good.  Asks first.

    Example: taskctl dlq purge --queue mail --yes
    """
    which = _chosen(ids, _filter(task, queue, since_s), everything)
    with open_desk(session.config) as desk:
        found = _ids(desk, which, limit)
        if found and not yes:
            click.confirm(f"Delete {counted(len(found), 'dead letter')} for good?", abort=True, err=True)
        count = hand_over(found, desk.purge_dead, "purged")
    return _report("purged", count, ids or found, as_json)


def _filter(task: str | None, queue: str | None, since_s: float | None) -> DeadFilter:
    return DeadFilter(task, queue, None if since_s is None else clock.now() - since_s)


def _chosen(ids: Sequence[int], which: DeadFilter, everything: bool) -> DeadFilter:
    """Return what to act on; nothing is acted on by leaving something out."""
    by_filter = everything or which != DeadFilter()
    if bool(ids) == by_filter:
        raise click.UsageError("name the dead letters by their IDs, or by --task, --queue, --since or --all")
    return DeadFilter(ids=ids) if ids else which


def _ids(desk: Desk, which: DeadFilter, limit: int | None) -> Sequence[int]:
    """Return the ids as they are now: a letter that dies again meanwhile is not met twice."""
    return desk.dead_ids(which)[:limit]


def _report(verb: str, count: int, chosen: Sequence[int], as_json: bool) -> int:
    if as_json:
        echo_json({verb: count})
    else:
        click.echo(f"{verb}: {count}" if chosen else f"{verb}: 0; no dead letter matches")
    missing = len(set(chosen)) - count
    if missing > 0:
        are = counted(missing, "dead letter is", "dead letters are")
        raise Failure(f"{are} not there; taskctl dlq list shows all")
    return exit_codes.OK
