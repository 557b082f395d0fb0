"""``taskctl revoke``: keep tasks from running, or end them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import closing

import click

from taskd.base import exit_codes
from taskd.cli.names import complete_running_ids
from taskd.cli.offers import complete_tasks
from taskd.cli.output import Failure, echo_json, json_option
from taskd.cli.remote import NobodyAnswers, destination_option, tell, timeout_option
from taskd.cli.session import Session, duration, pass_session
from taskd.config.kinds import StoreCan
from taskd.config.schema import Config
from taskd.results import factory, in_advance
from taskd.revocations.known import By
from taskd.revocations.store import state_of


@click.command()
@click.argument("ids", nargs=-1, metavar="[ID]...", shell_complete=complete_running_ids)
@click.option(
    "--name",
    "names",
    multiple=True,
    metavar="TASK",
    shell_complete=complete_tasks,
    help="Revoke every task of this name.",
)
@click.option(
    "--header", "headers", multiple=True, metavar="K=V", help="Revoke every task stamped with this header."
)
@click.option("--terminate", is_flag=True, help="Also end tasks that are running, step by step.")
@click.option(
    "--soft",
    "soft_s",
    type=duration,
    metavar="DURATION",
    help="Raise SoftTimeLimitExceeded in them first, and wait this long (default: the worker's).",
)
@click.option(
    "--term",
    "term_s",
    type=duration,
    metavar="DURATION",
    help="Time from the signal to KILL (default: the worker's, 5s).",
)
@click.option("--signal", "signal_name", metavar="NAME", help="Signal for --terminate (default: TERM).")
@click.option(
    "--undo",
    is_flag=True,
    help="Let them run again if they were not dropped yet; their results say PENDING again.",
)
@timeout_option
@destination_option
@json_option
@pass_session
def revoke(
    session: Session,
    *,
    ids: tuple[str, ...],
    names: tuple[str, ...],
    headers: tuple[str, ...],
    terminate: bool,
    soft_s: float | None,
    term_s: float | None,
    signal_name: str | None,
    undo: bool,
    timeout_s: float,
    destination: tuple[str, ...],
    as_json: bool,
) -> int:
    """Keep tasks from running, or end them.

    A revocation holds for three hours, also over restarts of the workers. No worker need be up, except over
    RabbitMQ. A name or a header also covers tasks that are sent later, until --undo.

    Example: taskctl revoke 0b0e2a52-5e9b-4b2c-9d39-0f8b3c0b3b0e --terminate --soft 10s --term 5s
    """
    for option, value in (("--signal", signal_name), ("--soft", soft_s), ("--term", term_s)):
        if value is not None and not terminate:
            raise click.UsageError(f"{option} is for --terminate")
    if undo and terminate:
        raise click.UsageError("--undo ends nothing; leave out --terminate")
    if wrong := [header for header in headers if "=" not in header]:
        raise click.UsageError(f"--header {wrong[0]}: expected NAME=VALUE")
    given = {
        key: list(values)
        for key, values in (("task_id", ids), ("task_name", names), ("headers", headers))
        if values
    }
    if not given:
        raise click.UsageError("say what to revoke: an ID, --name or --header")
    requests = _requests(given, {"soft": soft_s, "term": term_s}, terminate, signal_name, undo=undo)
    kept = not destination and _keep(session.config, given, undo=undo)
    try:
        return tell(
            session.config,
            requests,
            destination=destination,
            timeout_s=timeout_s,
            as_json=as_json,
            in_words=_in_words,
        )
    except NobodyAnswers as error:
        if destination:
            raise
        if not kept:
            raise Failure(_NOT_KEPT, error.exit_code) from error
        if as_json:
            echo_json({"replies": []})
        click.echo(_UNDONE if undo else _KEPT + (_ENDED_NOTHING if terminate else ""), err=as_json)
        return exit_codes.OK


def _requests(
    given: Mapping[str, Sequence[str]],
    times: Mapping[str, float | None],
    terminate: bool,
    signal_name: str | None,
    *,
    undo: bool,
) -> Sequence[tuple[str, Mapping[str, object]]]:
    if undo:
        return [("unrevoke", given)]
    how: dict[str, object] = {"terminate": terminate, "signal": signal_name}
    # Left out where nothing was said: a worker of Celery does not know them.
    how |= {key: value for key, value in times.items() if value is not None}
    return [(_METHODS[key], {key: value, **how}) for key, value in given.items()]


def _keep(config: Config, given: Mapping[str, Sequence[str]], *, undo: bool) -> bool:
    """Write it where workers that start later read it; return whether there is such a place."""
    state = state_of(config.broker, config.stores)
    if state is None:
        return False
    with closing(state):
        for key, what in given.items():
            (state.discard if undo else state.add)(_KINDS[key], what)
    if undo and StoreCan.ANSWER in config.result_kind.can:
        with closing(factory.connect(config.results, config.stores)) as results:
            in_advance.take_back(results, given.get("task_id", ()))
    return True


def _in_words(arguments: Mapping[str, object], said: str) -> str:
    """Return for people what a worker answers in Celery's words."""
    for pattern, meaning in _ANSWERS:
        if found := re.fullmatch(pattern, said):
            return f"revoked {_what(arguments)}" + meaning.format(*found.groups())
    return said


def _what(arguments: Mapping[str, object]) -> str:
    for key, noun in (("task_id", ""), ("task_name", "every task named "), ("headers", "every task with ")):
        match arguments.get(key):
            case [*named]:
                shown = [str(each) for each in named[:_SHOWN]]
                more = [f"{len(named) - _SHOWN} more"] if len(named) > _SHOWN else []
                return noun + ", ".join(shown + more)
    return "these"


#: As many of the ids that were given are repeated.
_SHOWN = 3
#: Celery's answers, and what they add to the fact that something is revoked.
_ANSWERS = (
    (r"tasks \{.*\} flagged as revoked", ""),
    (r"(?:names|headers) .* flagged as revoked, but not terminated", ""),
    (r"terminate: tasks unknown", "; none of them runs here"),
    (r"(?:names|headers) .* were not terminated", "; none of them runs here"),
    (r"terminate: (.+)", "; ends {0}"),
    (r"(?:names|headers) .* revoked, terminated: (.+)", "; ends {0}"),
)


#: The text for the case that no worker is up.
_KEPT = "no worker is up: every worker that starts within three hours drops these tasks when their turn comes"
_ENDED_NOTHING = "; no running task was ended"
_UNDONE = "no worker is up: workers that start from now on run these tasks"
_NOT_KEPT = (
    "no worker answered, and this broker keeps no revocations (SQLite and Redis do): these tasks run when a "
    "worker starts. Start a worker and revoke them then, or remove all that waits by taskctl purge QUEUE"
)


_KINDS = {"task_id": By.ID, "task_name": By.NAME, "headers": By.STAMP}
_METHODS = {
    "task_id": "revoke",
    "task_name": "revoke_by_name",
    "headers": "revoke_by_stamped_headers",
}
