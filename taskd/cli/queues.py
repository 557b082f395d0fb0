"""``taskctl queues`` and ``taskctl purge``: how much waits, and throwing it away."""

from __future__ import annotations

from dataclasses import asdict, astuple

import click

from taskd.base import exit_codes
from taskd.cli.desk import left_alone, open_desk, require_queue
from taskd.cli.offers import complete_queues
from taskd.cli.output import echo_json, echo_table, json_option, printable
from taskd.cli.session import Session, pass_session
from taskd.config.serving import servers_of

_COLUMNS = ("QUEUE", "READY", "DELAYED", "CLAIMED", "DEAD", "FAILED", "UNACKED")


@click.command()
@json_option
@pass_session
def queues(session: Session, *, as_json: bool) -> int:
    """Show how many messages wait in each queue.

    Ready messages could run now, delayed ones are not due yet, claimed ones are with workers, dead ones are
    in the dead-letter queue. Failed ones are kept since their tasks failed for good (taskctl dlq list --state
    failed). Unacked ones, shown if there are any, are with Celery workers on the same Redis, or a killed
    Celery worker left them. Below the table stand the queues in which messages wait and
    from which no worker of the file consumes.

    Example: taskctl queues
    """
    with open_desk(session.config) as desk:
        found = desk.queues()
    if as_json:
        config = session.config
        listed = [{**asdict(queue), "workers": servers_of(queue.name, config)} for queue in found]
        echo_json({"queues": listed})
    else:
        rows = [astuple(each) for each in found]
        columns = _COLUMNS if any(each.unacked for each in found) else _COLUMNS[:-1]
        echo_table(columns, [row[: len(columns)] for row in rows], right=columns[1:])
        for said in left_alone(found, session.config):
            click.echo(f"\n{printable(said)}")
    return exit_codes.OK


@click.command()
@click.argument("queue", shell_complete=complete_queues)
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
@pass_session
def purge(session: Session, *, queue: str, yes: bool, as_json: bool) -> int:
    """Delete the messages that wait in a queue.

    Asks first. Messages that workers have claimed stay.

    Example: taskctl purge mail --yes
    """
    with open_desk(session.config) as desk:
        require_queue(desk, queue)
        if not yes:
            info = next(each for each in desk.queues() if each.name == queue)
            question = (
                f'Delete {info.ready} ready and {info.delayed} delayed messages of "{printable(queue)}"?'
            )
            click.confirm(question, abort=True, err=True)
        count = desk.purge(queue)
    if as_json:
        echo_json({"queue": queue, "purged": count})
    else:
        click.echo(f"deleted: {count}")
    return exit_codes.OK
