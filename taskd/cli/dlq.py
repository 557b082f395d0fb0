"""``taskctl dlq``: messages that could not be run, with the evidence of their end."""

from __future__ import annotations

import base64
from collections.abc import Sequence

import click
import msgspec

from taskd import exit_codes
from taskd.brokers.base import DeadLetter, Desk
from taskd.cli.desk import open_desk
from taskd.cli.output import Failure, echo_json, echo_table, json_option, local_time, printable
from taskd.cli.session import Session, pass_session

_COLUMNS = ("ID", "QUEUE", "DIED", "DEATHS", "TASK", "TASK ID", "REASON")
# ``Desk`` has no look-up by id; the dead-letter queue is small, or something is badly wrong.
_EVERYTHING = 1_000_000

ids_argument = click.argument("ids", nargs=-1, type=int, metavar="ID...")
all_option = click.option("--all", "everything", is_flag=True, help="All dead letters.")


@click.group()
def dlq() -> None:
    """See, requeue or delete dead letters.

    These are messages that could not be run, or that killed too many processes.

    Example: taskctl dlq list
    """


@dlq.command("list")
@click.option("--queue", help="Only those of this queue.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@json_option
@pass_session
def list_(session: Session, *, queue: str | None, limit: int, as_json: bool) -> int:
    """List dead letters, the newest first.

    Example: taskctl dlq list --queue mail
    """
    with open_desk(session.config) as desk:
        letters = desk.dead_letters(limit, queue)
    if as_json:
        echo_json([_facts(letter) for letter in letters])
    else:
        echo_table(_COLUMNS, [_row(letter) for letter in letters], right=("ID", "DEATHS"))
    return exit_codes.OK


@dlq.command()
@click.argument("letter_id", type=int, metavar="ID")
@json_option
@pass_session
def show(session: Session, *, letter_id: int, as_json: bool) -> int:
    """Show one dead letter with all that is known.

    Example: taskctl dlq show 12
    """
    with open_desk(session.config) as desk:
        letter = next((each for each in desk.dead_letters(_EVERYTHING) if each.id == letter_id), None)
    if letter is None:
        raise Failure(f"there is no dead letter {letter_id}; taskctl dlq list shows those there are")
    facts = _facts(letter) | {
        "evidence": _decoded(letter.evidence),
        "headers": _decoded(letter.headers),
        "content_type": letter.content_type,
        "body": _decoded(letter.body),
    }
    if as_json:
        echo_json(facts)
        return exit_codes.OK
    for key, value in facts.items():
        text = value if isinstance(value, str) else msgspec.json.format(msgspec.json.encode(value)).decode()
        click.echo(printable(f"{key}: {text}"))
    return exit_codes.OK


@dlq.command()
@ids_argument
@all_option
@json_option
@pass_session
def requeue(session: Session, *, ids: Sequence[int], everything: bool, as_json: bool) -> int:
    """Send dead letters to their queues again.

    They count as never tried.

    Example: taskctl dlq requeue 12 13
    """
    with open_desk(session.config) as desk:
        chosen = _chosen(desk, ids, everything)
        count = desk.requeue_dead(chosen)
    return _report("requeued", count, chosen, as_json)


@dlq.command()
@ids_argument
@all_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_session
def purge(session: Session, *, ids: Sequence[int], everything: bool, yes: bool, as_json: bool) -> int:
    """Delete dead letters for good.  Asks first.

    Example: taskctl dlq purge --all --yes
    """
    with open_desk(session.config) as desk:
        chosen = _chosen(desk, ids, everything)
        if not yes:
            click.confirm(f"Delete {len(chosen)} dead letters for good?", abort=True, err=True)
        count = desk.purge_dead(chosen)
    return _report("purged", count, chosen, as_json)


def _chosen(desk: Desk, ids: Sequence[int], everything: bool) -> Sequence[int]:
    if bool(ids) == everything:
        raise click.UsageError("name the dead letters by their IDs, or give --all")
    return [letter.id for letter in desk.dead_letters(_EVERYTHING)] if everything else ids


def _report(verb: str, count: int, chosen: Sequence[int], as_json: bool) -> int:
    if as_json:
        echo_json({verb: count})
    else:
        click.echo(f"{verb}: {count}")
    if count < len(set(chosen)):
        raise Failure(f"{len(set(chosen)) - count} of the dead letters named are not there")
    return exit_codes.OK


def _row(letter: DeadLetter) -> tuple[object, ...]:
    died = local_time(letter.died_at)
    return letter.id, letter.queue, died, letter.deaths, _task(letter), letter.task_id, letter.reason


def _facts(letter: DeadLetter) -> dict[str, object]:
    return {
        "id": letter.id,
        "queue": letter.queue,
        "task": _task(letter),
        "task_id": letter.task_id,
        "reason": letter.reason,
        "died_at": letter.died_at,
        "deaths": letter.deaths,
    }


def _task(letter: DeadLetter) -> str:
    headers = _decoded(letter.headers)
    name = headers.get("task") if isinstance(headers, dict) else None
    return name if isinstance(name, str) else ""


def _decoded(data: bytes) -> object:
    """Return JSON values, else text, else base64: a dead letter may hold anything."""
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"base64:{base64.b64encode(data).decode()}"
