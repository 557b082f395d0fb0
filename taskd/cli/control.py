"""``taskctl control``: steer the workers over the broker, as ``celery control`` does."""

from __future__ import annotations

from collections.abc import Mapping

import click

from taskd.cli.commanding import Json, command_of
from taskd.cli.groups import CommandGroup
from taskd.cli.output import json_option
from taskd.cli.remote import destination_option, tell, timeout_option
from taskd.cli.session import Session, pass_session
from taskd.protocol.commands import COMMANDS, CommandKind, CommandSpec


@click.group(cls=CommandGroup)
def control() -> None:
    """Steer the workers: limits, slots, queues, events.

    A change holds until the worker ends. The next worker starts from the configuration file again.

    Example: taskctl control add-consumer letters
    """


def _add(spec: CommandSpec) -> None:
    def ask(
        session: Session,
        arguments: Mapping[str, object],
        *,
        timeout_s: float,
        destination: tuple[str, ...],
        as_json: bool,
    ) -> int:
        return tell(
            session.config,
            [(spec.name, arguments)],
            destination=destination,
            timeout_s=timeout_s,
            as_json=as_json,
        )

    control.add_command(command_of(spec, ask))


for _spec in COMMANDS:
    if _spec.kind is CommandKind.CONTROL and not _spec.hidden:
        _add(_spec)


@control.command()
@click.argument("name")
@click.argument("arguments", type=Json(), default="{}")
@timeout_option
@destination_option
@json_option
@pass_session
def call(
    session: Session,
    *,
    name: str,
    arguments: object,
    timeout_s: float,
    destination: tuple[str, ...],
    as_json: bool,
) -> int:
    """Call a command of the app by its name, with its arguments as a JSON object.

    taskctl inspect commands lists the commands.

    Example: taskctl control call reload_prices '{"shop": "berlin"}'
    """
    if not isinstance(arguments, dict):
        raise click.BadParameter("expected a JSON object such as '{\"key\": 1}'", param_hint="ARGUMENTS")
    return tell(
        session.config, [(name, arguments)], destination=destination, timeout_s=timeout_s, as_json=as_json
    )
