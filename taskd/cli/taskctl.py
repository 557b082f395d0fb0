"""The ``taskctl`` command: its options, its exit statuses, and nothing of what the verbs do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Sequence

import click

from taskd.base import exit_codes
from taskd.base.errors import (
    BackendError,
    ConfigError,
    ControlError,
    RefusedError,
    TaskdError,
)
from taskd.base.version import __version__
from taskd.cli import verbs
from taskd.cli.groups import CommandGroup
from taskd.cli.output import Failure, printable, printable_block
from taskd.cli.session import Session
from taskd.cli.time_limit import limited
from taskd.config.kinds import KindError
from taskd.config.where import RULE


class _Verbs(CommandGroup):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return [*verbs.VERBS, *verbs.others().usable]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the verb; None for one of another package that is broken, which costs no other verb."""
        try:
            return _verb(cmd_name)
        except KindError:  # calling it says what is wrong, as does the help
            return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] == verbs.HELP:
            if not args[1:]:
                click.echo(ctx.get_help())
                ctx.exit()
            args = [*args[1:], "--help"]
        if args and args[0] in verbs.VERBS:  # nothing is read of other packages
            return click.Group.resolve_command(self, ctx, args)
        if args and (command := _verb(args[0])) is not None:
            return args[0], command, args[1:]
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands in groups, each with its whole first sentence."""
        for title, names in verbs.GROUPS.items():
            with formatter.section(title):
                formatter.write_dl(_rows((name, self.get_command(ctx, name)) for name in names))
        usable, errors = _of_others()
        if usable:
            with formatter.section("Of other packages"):
                formatter.write_dl(_rows(usable))
        for error in errors:
            click.echo(f"taskctl: {printable(str(error))}", err=True)


def _verb(name: str) -> click.Command | None:
    command = verbs.find(name)
    return limited(command) if command is not None else None


def _of_others() -> tuple[list[tuple[str, click.Command | None]], list[KindError]]:
    """Return the verbs of other packages with what is wrong with the rest."""
    found = verbs.others()
    usable: list[tuple[str, click.Command | None]] = []
    errors = [*found.refused.values()]
    for name in sorted(found.usable):
        try:
            usable.append((name, _verb(name)))
        except KindError as error:
            errors.append(error)
    return usable, errors


def _rows(commands: Iterable[tuple[str, click.Command | None]]) -> list[tuple[str, str]]:
    return [(name, each.get_short_help_str(1000)) for name, each in commands if each]


@click.command(
    cls=_Verbs,
    epilog="Exit status: 0 done, 1 failed, 64 wrong usage, 69 nobody answers, 75 not in time, 78 wrong "
    "configuration.",
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.option(
    "--config",
    "config_path",
    metavar="FILE",
    help=f"The configuration file (default: {RULE}).",
)
@click.version_option(__version__, "-V", "--version", prog_name="taskctl")
@click.pass_context
def cli(ctx: click.Context, config_path: str | None) -> None:
    """See and steer a taskd daemon, its workers and its queues.

    Example: taskctl --config ./taskd.toml status
    """
    if ctx.obj is None:  # called by another than main, such as the completion
        ctx.obj = Session(None)
    ctx.obj.name(config_path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status; expected errors are one message on stderr."""
    _open_what_is_closed()
    session = Session(None)
    try:
        status = cli.main(args=arguments, prog_name="taskctl", standalone_mode=False, obj=session)
        sys.stdout.flush()
    except OSError as error:
        # Errors of sockets and databases are translated where they arise: what is left is standard output.
        return _report_output(error)
    except (click.ClickException, click.Abort, TaskdError) as error:
        return _report(error, session.read_here)
    return status if isinstance(status, int) else exit_codes.OK


def _open_what_is_closed() -> None:
    """Give a command that was started without one of its three standard streams another.

    Else the first file that it opens would take the place, and be written to.  A closed output refuses to be
    written, as it would without Python.
    """
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115 - for as long as the command runs
    if sys.stdout is None:
        sys.stdout = os.fdopen(os.open(os.devnull, os.O_RDONLY), "w")
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115


def _report_output(error: OSError) -> int:
    # Python would complain again when it flushes at exit.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):  # then whoever read the output has enough of it
        what = error.filename or "the output cannot be written"
        click.echo(f"taskctl: {what}: {error.strerror or error}", err=True)
    return exit_codes.FAILURE


def _report(error: Exception, read_here: str | None) -> int:
    """Print the error, with the file if nobody named it, and return its exit status."""
    match error:
        case click.ClickException():
            error.show()
            return exit_codes.USAGE if isinstance(error, click.UsageError) else exit_codes.FAILURE
        case click.Abort():
            click.echo("taskctl: aborted", err=True)
            return exit_codes.FAILURE
        case ConfigError():
            # One problem a line, each beginning with its file and line.
            click.echo("\n".join(printable(line) for line in str(error).split("\n")), err=True)
            return exit_codes.CONFIG
        case _:
            click.echo(f"taskctl: {printable_block(str(error))}", err=True)
            if read_here is not None:
                click.echo(printable(f"taskctl: the configuration is {read_here}"), err=True)
    return _status(error)


def _status(error: Exception) -> int:
    match error:
        case Failure():
            return error.exit_code
        case RefusedError():
            return exit_codes.FAILURE
        case ControlError() | BackendError():
            return exit_codes.UNAVAILABLE
        case _:
            return exit_codes.FAILURE
