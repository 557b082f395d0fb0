"""``taskctl check``: every problem of the configuration at once."""

from __future__ import annotations

import click

from taskd.base import exit_codes
from taskd.cli.output import echo_json, json_option
from taskd.cli.session import Session, pass_session
from taskd.config.load import check as check_file


@click.command()
@json_option
@pass_session
def check(session: Session, as_json: bool) -> int:
    """Check the configuration file, as taskd --check does.

    Example: taskctl --config ./taskd.toml check
    """
    config, problems = check_file(session.config_path, machine=True)
    if as_json:
        echo_json(
            {
                "file": session.config_path,
                "ok": config is not None,
                "problems": [
                    {
                        "severity": problem.severity.value,
                        "line": problem.line,
                        "key": problem.key,
                        "message": str(problem),
                    }
                    for problem in problems
                ],
            }
        )
    else:
        for problem in problems:
            click.echo(str(problem), err=True)
        if config is not None:
            click.echo(f"{session.config_path}: configuration ok")
    return exit_codes.OK if config is not None else exit_codes.CONFIG
