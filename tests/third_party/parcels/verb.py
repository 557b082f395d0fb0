"""``taskctl parcels``: how many messages wait."""

from __future__ import annotations

import click

from taskd.cli.desk import open_desk
from taskd.cli.session import Session, pass_session


@click.command()
@pass_session
def parcels(session: Session) -> int:
    """Print how many messages wait in all queues.

    Example: taskctl parcels
    """
    with open_desk(session.config) as desk:
        click.echo(sum(queue.ready for queue in desk.queues()))
    return 0
