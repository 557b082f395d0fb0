"""``taskctl revoke``: keep tasks from running, or end them."""

from __future__ import annotations

import click

from taskd import exit_codes
from taskd.cli.output import echo_json, json_option, printable
from taskd.cli.remote import ask, destination_option, timeout_option
from taskd.cli.session import Session, pass_session


@click.command()
@click.argument("ids", nargs=-1, required=True, metavar="ID...")
@click.option("--terminate", is_flag=True, help="End the tasks that run already.")
@click.option("--signal", "signal_name", metavar="NAME", help="Signal for --terminate (default: TERM).")
@timeout_option
@destination_option
@json_option
@pass_session
def revoke(
    session: Session,
    *,
    ids: tuple[str, ...],
    terminate: bool,
    signal_name: str | None,
    timeout_s: float,
    destination: tuple[str, ...],
    as_json: bool,
) -> int:
    """Keep tasks from running, or end them.

    Example: taskctl revoke 0b0e2a52-5e9b-4b2c-9d39-0f8b3c0b3b0e --terminate
    """
    if signal_name and not terminate:
        raise click.UsageError("--signal is for --terminate")
    arguments: dict[str, object] = {"task_id": list(ids), "terminate": terminate, "signal": signal_name}
    answers = ask(session.config, "revoke", arguments, destination=destination, timeout_s=timeout_s)
    failed = any(isinstance(answer, dict) and "error" in answer for answer in answers.values())
    if as_json:
        echo_json(answers)
    else:
        for node, answer in answers.items():
            text = next(iter(answer.values()), "") if isinstance(answer, dict) else answer
            click.echo(printable(f"{node}: {text}"))
    return exit_codes.FAILURE if failed else exit_codes.OK
