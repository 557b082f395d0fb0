"""``taskctl config``: what the configuration says, where it says so, and what a key means."""

from __future__ import annotations

import click

from taskd.base import exit_codes
from taskd.base.errors import ConfigError
from taskd.base.nearest import nearest
from taskd.cli.check import check
from taskd.cli.groups import CommandGroup
from taskd.cli.output import Failure, echo_json, echo_table, json_option, printable
from taskd.cli.reload import ask
from taskd.cli.session import Session, pass_session
from taskd.cli.status import socket_option
from taskd.config.diff import diff
from taskd.config.key_values import KeyValue, walk
from taskd.config.load import load
from taskd.config.provenance import KeyPath, Provenance, scan
from taskd.config.reference import declared, default_text, key_patterns, value_text
from taskd.supervisor.control.client import ControlClient

_APPLIES = {
    "live": "a reload, at once",
    "roll": "a reload, which replaces the programs concerned",
    "restart": "a restart of taskd",
}


@click.group(cls=CommandGroup)
def config() -> None:
    """See what the configuration says and means.

    Example: taskctl config show
    """


config.add_command(check)


@config.command()
@json_option
@pass_session
def show(session: Session, *, as_json: bool) -> int:
    """Show every key with its value and the line that sets it; passwords are masked.

    Example: taskctl config show --json
    """
    leaves, provenance = _read(session)
    if as_json:
        keys = [
            {"key": ".".join(path), "value": leaf.shown, "line": provenance.lines.get(path)}
            for path, leaf in leaves.items()
        ]
        echo_json({"file": session.config_path, "keys": keys})
        return exit_codes.OK
    rows = [(".".join(path), leaf.shown, _origin(path, provenance)) for path, leaf in leaves.items()]
    echo_table(("KEY", "VALUE", "FROM"), rows)
    return exit_codes.OK


def _complete_keys(_context: click.Context, _parameter: click.Parameter, incomplete: str) -> list[str]:
    return [key for key in key_patterns() if key.startswith(incomplete)]


@config.command()
@click.argument("key", shell_complete=_complete_keys)
@json_option
@pass_session
def explain(session: Session, *, key: str, as_json: bool) -> int:
    """Say what a key means, what it accepts, and what it is now and why.

    KEY is a key with its tables, such as supervisor.stop_timeout or worker.mail.concurrency. For a key that
    all workers have in common, write worker.NAME.concurrency.

    Example: taskctl config explain supervisor.stop_timeout
    """
    path = tuple(key.split("."))
    found = declared(path)
    if found is None:
        raise Failure(f'there is no key "{key}"; {_meant(key)}', exit_codes.USAGE)
    option, field = found
    leaves, provenance = _read(session)
    facts = {
        "key": key,
        "meaning": option.help,
        "accepts": value_text(option).replace("`", ""),
        "default": default_text(option, field).replace("`", ""),
        "value": leaves[path].shown if path in leaves else None,
        "line": provenance.lines.get(path),
        "changed_by": _APPLIES[option.applies.value],
    }
    if as_json:
        echo_json(facts)
        return exit_codes.OK
    click.echo(f"{key}: {facts['meaning']}")
    click.echo(f"accepts     {facts['accepts']}")
    click.echo(f"default     {facts['default']}")
    if path in leaves:
        origin = f"{session.config_path}, {_origin(path, provenance)}"
        click.echo(printable(f"value       {leaves[path].shown} ({origin})"))
    click.echo(f"changed by  {facts['changed_by']}")
    return exit_codes.OK


def _meant(key: str) -> str:
    """Return which keys a wrong one may mean: those of its name in all tables, else the nearest."""
    patterns = key_patterns()
    named = [pattern for pattern in patterns if pattern.rpartition(".")[2] == key.rpartition(".")[2]]
    if not named:
        bare = {pattern.rpartition(".")[2]: pattern for pattern in patterns}
        hint = nearest(key, patterns) or bare.get(nearest(key, bare))
        named = [hint] if hint else []
    *others, last = (f'"{each}"' for each in named or [""])
    meant = f"{', '.join(others)} or {last}" if others else last
    return f"did you mean {meant}?" if named else "taskctl config show lists those with a value"


@config.command("diff")
@click.argument("other", required=False, metavar="[FILE]")
@socket_option
@json_option
@pass_session
def compare(session: Session, *, other: str | None, socket_path: str | None, as_json: bool) -> int:
    """Show how the file differs from the configuration that taskd runs with; passwords are masked.

    With FILE: how that file differs from the configuration file. Then taskd is not asked.

    Example: taskctl config diff ./taskd.toml.new
    """
    if other is None:
        with ControlClient(socket_path or session.config.supervisor.control_socket) as client:
            answer = ask(client, "plan")
        if not answer.ok:
            raise ConfigError("\n".join(answer.problems))
        changes = answer.changes
    else:
        changes = [str(change) for change in diff(session.config, load(other))]
    if as_json:
        echo_json({"changes": changes})
    for change in () if as_json else changes:
        click.echo(printable(change))
    return exit_codes.OK


def _read(session: Session) -> tuple[dict[KeyPath, KeyValue], Provenance]:
    """Return the keys of the checked file, and their lines.  Raises: ``ConfigError``."""
    found = {path: leaf for path, leaf in walk(session.config) if isinstance(leaf, KeyValue)}
    with open(session.config_path, encoding="utf-8-sig") as file:
        return found, scan(file.read())


def _origin(path: KeyPath, provenance: Provenance) -> str:
    line = provenance.lines.get(path)
    return "default" if line is None else f"line {line}"
