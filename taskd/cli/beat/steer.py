"""``taskctl beat pause``, ``resume`` and ``run-now``."""

from __future__ import annotations

import click

from taskd.base import clock, exit_codes
from taskd.beat.messages import request_id
from taskd.cli.entries import look, opened, operator
from taskd.cli.offers import entry_argument
from taskd.cli.output import echo_json, json_option, printable
from taskd.cli.session import Session, pass_session


@click.command()
@entry_argument
@json_option
@pass_session
def pause(session: Session, *, name: str, as_json: bool) -> int:
    """Keep an entry from running, wherever it stands, until it is resumed.

    The pause holds over restarts. Runs that come due meanwhile are skipped, not kept.

    Example: taskctl beat pause nightly-report
    """
    with opened(session.config) as store:
        look(session.config, store).require(name)
        store.pause(name, operator(), clock.now())
    return _tell(name, "paused", as_json=as_json)


@click.command()
@entry_argument
@json_option
@pass_session
def resume(session: Session, *, name: str, as_json: bool) -> int:
    """Let a paused entry run again, from its next time on.

    Example: taskctl beat resume nightly-report
    """
    with opened(session.config) as store:
        look(session.config, store).require(name)
        was_paused = store.resume(name, operator(), clock.now())
    return _tell(name, "resumed" if was_paused else "was not paused", as_json=as_json)


@click.command("run-now")
@entry_argument
@json_option
@pass_session
def run_now(session: Session, *, name: str, as_json: bool) -> int:
    """Have beat send an entry once now, beside its schedule, whether it is paused or not.

    Prints the task id, for `taskctl result`. A beat that is down sends the task when it starts.

    Example: taskctl beat run-now nightly-report
    """
    now = clock.now()
    with opened(session.config) as store:
        look(session.config, store).require(name)
        number = store.request(name, operator(), now)
    task_id = request_id(name, number, now)
    if as_json:
        echo_json({"name": name, "id": task_id})
    else:
        click.echo(task_id)
    return exit_codes.OK


def _tell(name: str, done: str, *, as_json: bool) -> int:
    if as_json:
        echo_json({"name": name, "done": done})
    else:
        click.echo(printable(f"{name}: {done}"))
    return exit_codes.OK
