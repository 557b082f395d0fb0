"""The verbs of ``taskctl beat``."""

from __future__ import annotations

import click

from taskd.cli.beat import edit, look, steer
from taskd.cli.beat.explain import explain
from taskd.cli.groups import CommandGroup


@click.group(cls=CommandGroup)
def beat() -> None:
    """See what periodic tasks do, and when; add, change, pause and run them.

    Changes go to beat's store, and running beats take them at once; the daemon need not run.

    Example: taskctl beat explain "0 3 * * *" --zone Europe/Berlin
    """


for command in (
    *(look.list_, look.next_, look.history),
    *(edit.add, edit.set_, edit.remove, steer.pause, steer.resume, steer.run_now),
    explain,
):
    beat.add_command(command)
