"""The verbs of ``taskctl beat``."""

from __future__ import annotations

import click

from taskd.cli.beat.explain import explain


@click.group()
def beat() -> None:
    """See what periodic tasks do, and when.

    Example: taskctl beat explain "0 3 * * *" --zone Europe/Berlin
    """


beat.add_command(explain)
