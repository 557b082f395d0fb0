"""``taskctl rate-limit``: how many tasks of a name each worker may begin."""

from __future__ import annotations

import click

from taskd.base.rates import parse_rate
from taskd.cli.offers import complete_tasks
from taskd.cli.output import json_option
from taskd.cli.remote import destination_option, tell, timeout_option
from taskd.cli.session import Session, pass_session


def _rate(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        parse_rate(value)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error
    return value


@click.command("rate-limit")
@click.argument("task", shell_complete=complete_tasks)
@click.argument("rate", callback=_rate)
@timeout_option
@destination_option
@json_option
@pass_session
def rate_limit(
    session: Session, *, task: str, rate: str, timeout_s: float, destination: tuple[str, ...], as_json: bool
) -> int:
    """Let each worker begin at most RATE tasks of a name: 10/s, 10/m, 10/h, or 0 for no limit.

    The limit holds until the worker ends. The next worker starts with the task's own option again.

    Example: taskctl rate-limit shop.tasks.send_receipt 10/m
    """
    arguments = {"task_name": task, "rate_limit": rate}
    return tell(
        session.config,
        [("rate_limit", arguments)],
        destination=destination,
        timeout_s=timeout_s,
        as_json=as_json,
    )
