"""``taskctl dlq``: messages that could not be run or that failed, with the evidence of their end."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
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
from taskd.protocol.delivery import LetterKind

#: The words of ``--state``.
_STATES: Mapping[str, LetterKind | None] = {**{kind.value: kind for kind in LetterKind}, "all": None}

Command = TypeVar("Command", bound=Callable[..., object])


def _letter_id(text: str) -> int:
    """Return the number of a letter.  Raises: ``click.BadParameter``."""
    try:
        return int(text)
    except ValueError:
        raise click.BadParameter(
            f'a letter is named by the number in the column ID of taskctl dlq list, not by "{text}"'
        ) from None


ids_argument = click.argument(
    "ids", nargs=-1, type=_letter_id, metavar="[ID]...", shell_complete=complete_dead_letters
)
all_option = click.option("--all", "everything", is_flag=True, help="All letters of the state.")
at_most_option = click.option("--limit", type=click.IntRange(1), help="At most this many, the oldest first.")


def filter_options(command: Command) -> Command:
    """Add ``--state``, ``--task``, ``--queue`` and ``--since``; a letter must match all of them."""
    for option in (
        click.option(
            "--since",
            "since_s",
            type=duration,
            metavar="DURATION",
            help="Only letters of this period, such as 1h.",
        ),
        click.option("--queue", shell_complete=complete_queues, help="Only letters of this queue."),
        click.option(
            "--task", metavar="NAME", shell_complete=complete_tasks, help="Only letters of this task."
        ),
        click.option(
            "--state",
            type=click.Choice(list(_STATES)),
            default=LetterKind.DEAD.value,
            show_default=True,
            help="Only dead letters, or only messages of tasks that failed for good.",
        ),
    ):
        command = option(command)
    return command


@click.group(cls=CommandGroup)
def dlq() -> None:
    """See, requeue or delete dead letters, and messages of failed tasks.

    A dead letter is a message that could not run, or that killed too many processes. With --state failed, the
    messages of tasks that failed for good are meant: [failures] says how long they are kept.

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
    session: Session,
    *,
    task: str | None,
    queue: str | None,
    since_s: float | None,
    state: str,
    limit: int,
    as_json: bool,
) -> int:
    """List letters, the newest first.

    Example: taskctl dlq list --state failed --task shop.send_receipt --since 1h
    """
    with open_desk(session.config) as desk:
        found = desk.dead_letters(_filter(task, queue, since_s, state), limit + 1)
    more = len(found) > limit
    found = found[:limit]
    if as_json:
        echo_json({"letters": [letters.facts(letter) for letter in found], "more": more})
    elif not found:
        click.echo(f"no {state} letters" if _STATES[state] else "no letters")
    else:
        columns = letters.COLUMNS if _STATES[state] else (*letters.COLUMNS, "STATE")
        rows = [(*letters.row(letter), letter.kind.value)[: len(columns)] for letter in found]
        echo_table(columns, rows, right=("ID", "DEATHS"))
        if more:
            click.echo(f"\nthere are more than {limit}; --limit shows more of them", err=True)
    return exit_codes.OK


@dlq.command()
@click.argument("letter_id", type=_letter_id, metavar="ID", shell_complete=complete_dead_letters)
@json_option
@pass_session
def show(session: Session, *, letter_id: int, as_json: bool) -> int:
    """Show one letter, dead or failed, with its evidence, headers and body.

    Example: taskctl dlq show 12
    """
    with open_desk(session.config) as desk:
        dead = desk.dead_letter(letter_id)
    if dead is None:
        raise Failure(f"there is no letter {letter_id}; taskctl dlq list --state all shows all")
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
    state: str,
    everything: bool,
    limit: int | None,
    rate: float | None,
    as_json: bool,
) -> int:
    """Send letters to their queues again, the oldest first.

    They count as never tried. Ctrl-C ends a paced run between two messages; no message is lost.

    Example: taskctl dlq requeue --state failed --task shop.send_receipt --rate 10/s
    """
    which = _chosen(ids, _filter(task, queue, since_s, state), everything)
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
    state: str,
    everything: bool,
    limit: int | None,
    yes: bool,
    as_json: bool,
) -> int:
    """Delete letters for good.  Asks first.

    Example: taskctl dlq purge --queue mail --yes
    """
    which = _chosen(ids, _filter(task, queue, since_s, state), everything)
    with open_desk(session.config) as desk:
        found = _ids(desk, which, limit)
        if found and not yes:
            click.confirm(f"Delete {counted(len(found), 'letter')} for good?", abort=True, err=True)
        count = hand_over(found, desk.purge_dead, "purged")
    return _report("purged", count, ids or found, as_json)


def _filter(task: str | None, queue: str | None, since_s: float | None, state: str) -> DeadFilter:
    return DeadFilter(task, queue, None if since_s is None else clock.now() - since_s, kind=_STATES[state])


def _chosen(ids: Sequence[int], which: DeadFilter, everything: bool) -> DeadFilter:
    """Return what to act on; nothing is acted on by leaving something out."""
    by_filter = everything or which != DeadFilter(kind=which.kind)
    if bool(ids) == by_filter:
        raise click.UsageError("name the letters by their IDs, or by --task, --queue, --since or --all")
    return DeadFilter(ids=ids, kind=None) if ids else which


def _ids(desk: Desk, which: DeadFilter, limit: int | None) -> Sequence[int]:
    """Return the ids as they are now: a task that fails again meanwhile is not met twice."""
    return desk.dead_ids(which)[:limit]


def _report(verb: str, count: int, chosen: Sequence[int], as_json: bool) -> int:
    if as_json:
        echo_json({verb: count})
    else:
        click.echo(f"{verb}: {count}" if chosen else f"{verb}: 0; no letter matches")
    missing = len(set(chosen)) - count
    if missing > 0:
        are = counted(missing, "letter is", "letters are")
        raise Failure(f"{are} not there; taskctl dlq list --state all shows all")
    return exit_codes.OK
