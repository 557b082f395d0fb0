"""``taskctl import celery``: a taskd.toml for a Celery app and the commands that start it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import ExitStack

import click

from taskd.base import exit_codes
from taskd.cli.groups import CommandGroup
from taskd.cli.importing.asking import ask
from taskd.cli.importing.command_line import MOST_CHARACTERS, CommandError
from taskd.cli.importing.file_text import secrets_text, text_of, unwritable
from taskd.cli.importing.interpreters import with_interpreters
from taskd.cli.importing.plan import CodePlace, ImportPlan, plan_of
from taskd.cli.importing.report import document_of, lines_of
from taskd.cli.importing.shadowing import shadow_run
from taskd.cli.importing.sources import CeleryStart, assignments, env_files_of, starts_in
from taskd.cli.output import Failure, echo_json, json_option, printable
from taskd.cli.session import duration
from taskd.config.load import check_bytes
from taskd.config.schema import Config
from taskd.sending.celery_facts import CeleryFacts


@click.group("import", cls=CommandGroup)
def import_() -> None:
    """Write a configuration file for what another program ran until now.

    Example: taskctl import celery proj.celery:app
    """


@import_.command()
@click.argument("app", required=False, default="")
@click.option("--directory", metavar="DIR", help="Directory of the task code (default: the present one).")
@click.option("--interpreter", metavar="PYTHON", help="Python of the app, which needs taskd, too.")
@click.option("--output", metavar="FILE", help="File to write, which must not exist. Else it is printed.")
@click.option(
    "--from",
    "sources",
    metavar="FILE",
    multiple=True,
    help="A systemd unit, a Procfile, /etc/default/celeryd or a script that starts Celery. May be repeated.",
)
@click.option("--command", "commands", metavar="LINE", multiple=True, help="A command that starts Celery.")
@click.option(
    "--shadow",
    "shadow_s",
    type=duration,
    metavar="TIME",
    help="Watch the live queues this long (10m, 90s; Ctrl-C ends it), and say what would have run.",
)
@json_option
def celery(
    *,
    app: str,
    directory: str | None,
    interpreter: str | None,
    output: str | None,
    shadow_s: float | None,
    sources: Sequence[str],
    commands: Sequence[str],
    as_json: bool,
) -> int:
    """Write a taskd.toml for a Celery app, and say what changes.

    APP is named as for celery -A. It is imported in a process of its own; nothing is sent, and no worker is
    touched. The Python is that of the commands, unless --interpreter names one. The file goes to the standard
    output, and the report to standard error; with --output both change places. Passwords go to a file of
    variables beside the output. Exit status 1: something is refused, or a message of no known task was seen.

    Example: taskctl import celery proj.celery:app --from ./Procfile --output taskd.toml
    """
    starts = [start for each in sources for start in _read(each)]
    starts += [start for line in commands for start in _starts(line, "--command")]
    app = app or next((each.command.given("app") for each in starts if each.command.given("app")), "")
    if not app:
        raise Failure("no app is named; expected APP, such as proj.celery:app", exit_codes.USAGE)
    own = next((each.directory for each in starts if each.directory), "")
    code = os.path.abspath(directory or own or ".")
    if not interpreter:
        starts = with_interpreters(starts, code)
        interpreter = next((each.interpreter for each in starts if each.interpreter), "")
    place = CodePlace(code, interpreter)
    facts = ask(app, directory=place.directory, interpreter=place.interpreter, environment=_variables(starts))
    plan = plan_of(facts, starts, place)
    secrets_path = f"{os.path.splitext(output)[0]}.env" if output and plan.secrets else ""
    text = text_of(plan, facts, secrets_path)
    config = _checked(text, plan)
    with ExitStack() as stack:
        shadow = None
        if shadow_s is not None:
            # Before anything is written: not every broker can be watched.
            shadow = stack.enter_context(shadow_run(config, facts, plan, place, _variables(starts)))
        if output:
            _write(output, text, 0o644)
            if secrets_path:
                _write(secrets_path, secrets_text(plan), 0o600)
        if not as_json:
            if not output:
                click.echo(text, nl=False)
            _tell(lines_of(plan, facts, secrets_path), err=not output)
        if shadow is not None:
            shadow.run(shadow_s or 0.0)
    if as_json:
        echo_json({**document_of(plan, facts, text), **(shadow.document() if shadow else {})})
    elif shadow:
        _tell(shadow.lines(), err=not output)
    is_failing = _is_refused(facts) or (shadow is not None and shadow.tally.is_failing)
    return exit_codes.FAILURE if is_failing else exit_codes.OK


def _tell(lines: Iterable[str], *, err: bool) -> None:
    for line in lines:
        click.echo(printable(line), err=err)


def _is_refused(facts: CeleryFacts) -> bool:
    return any(each.is_refused for each in facts.findings)


def _read(path: str) -> list[CeleryStart]:
    """Return the starts in a file, with the variables of the files that a unit names, where they are."""
    text = _text_of(path)
    variables: dict[str, str] = {}
    for each in env_files_of(text):
        if os.path.exists(each):
            variables.update(assignments(_text_of(each)))
    return _starts(text, path, variables)


def _starts(text: str, path: str, variables: dict[str, str] | None = None) -> list[CeleryStart]:
    try:
        found = starts_in(text, path if variables is not None else "", variables)
    except CommandError as error:
        raise Failure(f"{path}: {error}", exit_codes.USAGE) from error
    if not found:
        raise Failure(f"{path}: nothing there starts Celery; expected celery -A APP worker", exit_codes.USAGE)
    return found


def _text_of(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(MOST_CHARACTERS + 1)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from error
    return data.decode("utf-8", "replace")


def _variables(starts: Sequence[CeleryStart]) -> dict[str, str]:
    """Return the environment of the first worker, in which the app is imported."""
    for start in starts:
        variables = dict(start.environment)
        for each in start.env_files:
            if os.path.exists(each):
                variables.update(assignments(_text_of(each)))
        return {**variables, **start.command.variables()}
    return {}


def _checked(text: str, plan: ImportPlan) -> Config | None:
    """Put what ``taskd --check`` would say of the file to the decisions; return what it means, if anything.

    Raises: ``Failure``.
    """
    if names := unwritable(plan):
        raise Failure(
            f"{', '.join(names)}: the value holds a NUL character, which no variable can have; "
            "correct the app's setting"
        )
    config, problems = check_bytes(text.encode(), "taskd.toml", {**os.environ, **plan.secrets})
    plan.decisions += [f"taskd --check: {problem}" for problem in problems]
    return config


def _write(path: str, text: str, mode: int) -> None:
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise Failure(f"{path} exists, and is left alone; name another --output") from error
    except OSError as error:
        raise Failure(f"{path} cannot be written: {error.strerror}") from error
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
