"""``taskctl send`` and ``taskctl result``: call a task by its name, and see what became of one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

import click

from taskd.app.app import App
from taskd.base import exit_codes
from taskd.base.errors import SerializationError, TaskdError
from taskd.base.lifecycle import Deadline
from taskd.base.nearest import nearest
from taskd.cli.names import complete_running_ids
from taskd.cli.offers import complete_queues, complete_tasks
from taskd.cli.output import Failure, echo_json, echo_value, json_option, printable, printable_block
from taskd.cli.remote import consuming_here
from taskd.cli.session import Session, duration, json_list, json_object, pass_session
from taskd.cli.whereabouts import TaskStage, locate
from taskd.config.kinds import StoreCan
from taskd.config.schema import Config
from taskd.control.client import RemoteControl
from taskd.protocol.results import ResultRecord, TaskState, decode_record
from taskd.results import factory
from taskd.results.base import ResultStore
from taskd.sending.options import SEND, SendOptions
from taskd.sending.whereabouts import UNKNOWN

wait_option = click.option(
    "--wait",
    "wait_s",
    type=duration,
    is_flag=False,
    flag_value="5m",
    metavar="[DURATION]",
    help='Wait for the end, at most this long, such as "30s". Without a time, 5 minutes.',
)


#: Of a task that another process sent.
_UNKNOWN = f"it is {TaskState.PENDING.value}: {UNKNOWN}"


@click.command()
@click.argument("name", shell_complete=complete_tasks)
@click.argument("args", type=json_list, default="[]", metavar="[ARGS_JSON]")
@click.option("--kwargs", type=json_object, default="{}", metavar="JSON", help="Keyword arguments.")
@click.option(
    "--queue",
    shell_complete=complete_queues,
    help="Queue to send to (default: the task's own, if a worker tells it).",
)
@click.option("--countdown", type=duration, metavar="DURATION", help=SEND["countdown"].meaning)
@click.option("--expires", type=duration, metavar="DURATION", help=SEND["expires"].meaning)
@click.option("--priority", type=click.IntRange(0, 9), help=SEND["priority"].meaning)
@click.option("--force", is_flag=True, help="Send the task even if no worker of this broker knows it.")
@wait_option
@json_option
@pass_session
def send(
    session: Session,
    *,
    name: str,
    args: list[object],
    kwargs: dict[str, object],
    queue: str | None,
    countdown: float | None,
    expires: float | None,
    priority: int | None,
    force: bool,
    wait_s: float | None,
    as_json: bool,
) -> int:
    """Send a task by its name and print its id.

    ARGS_JSON is a JSON list of its arguments. While the daemon runs, taskctl refuses a task that no worker
    knows; --force sends it all the same. With --wait taskctl prints the result instead of the id. The exit
    status is then 1 if the task failed and 75 if it did not end in time.

    Example: taskctl send shop.tasks.add '[2, 3]' --wait 10s
    """
    known = _known_tasks(session.config, name)
    if known and name not in known and not force:
        raise _unknown(name, known)
    options: SendOptions = {}
    if queue := queue or known.get(name):
        options["queue"] = queue
    if countdown is not None:
        options["countdown"] = countdown
    if expires is not None:
        options["expires"] = expires
    if priority is not None:
        options["priority"] = priority
    with closing(App(config=session.config_path)) as app:
        app.bind_config(session.config)
        sent = app.send_task(name, args, kwargs, **options)
        task_id = sent.id
        if wait_s is not None:
            try:
                found = _find(app.connections.results(), task_id, wait_s)
            except TaskdError as error:
                raise Failure(
                    f"task {task_id} is sent; its result cannot be read: {error}", exit_codes.UNAVAILABLE
                ) from error
            return _show(session.config, task_id, found, as_json, sent.whereabouts)
    if as_json:
        echo_json({"task_id": task_id})
    else:
        click.echo(task_id)
    return exit_codes.OK


def _known_tasks(config: Config, name: str) -> Mapping[str, str]:
    """Return the tasks of the workers that answer, each with its own queue; empty when that is not known."""
    known: dict[str, str] = {}
    asked = {"builtins": True, "taskinfoitems": ["queue"]}
    try:
        if not consuming_here(config):
            return {}  # workers may be on other hosts only, or start later
        with RemoteControl(config.broker, config.stores) as remote:
            # Mostly the first worker that answers knows the task; if not, all are heard.
            for limit in (1, None):
                for entries in remote.inspect("registered", asked, limit=limit).values():
                    if isinstance(entries, list):
                        known.update(_task_and_queue(str(each)) for each in entries)
                if name in known or not known:
                    break
    except TaskdError:
        return {}  # the send itself says what is wrong
    return known


def _task_and_queue(entry: str) -> tuple[str, str]:
    """Read ``name [queue=mail]``, or the name alone."""
    task, _, queue = entry.removesuffix("]").partition(" [queue=")
    return task, queue


def _unknown(name: str, known: Mapping[str, str]) -> Failure:
    hint = nearest(name, known)
    return Failure(
        f'no worker knows the task "{name}"{f"; did you mean {hint}?" if hint else ""}; '
        "--force sends it all the same",
        exit_codes.USAGE,
    )


@click.command()
@click.argument("task_id", metavar="ID", shell_complete=complete_running_ids)
@wait_option
@json_option
@pass_session
def result(session: Session, *, task_id: str, wait_s: float | None, as_json: bool) -> int:
    """Print the result of a task, or its traceback.

    Of a task that has not ended taskctl says where it is.  It names the program that runs it and since when,
    the worker that has claimed it, or the reason that it has not begun.  The daemon of this host and the
    workers of the broker are asked for that.

    Exit status: 0 the task succeeded, 1 it failed or was revoked, 75 it has not ended.

    Example: taskctl result 0b0e2a52-5e9b-4b2c-9d39-0f8b3c0b3b0e --wait 1m
    """
    config = session.config
    kind = config.result_kind
    if StoreCan.KEEP not in kind.can:
        raise Failure(f'results are switched off in the configuration (results = "{kind.schemes[0]}://")')
    if StoreCan.ANSWER not in kind.can:
        raise Failure(
            f'results go to the process that sent the task (results = "{kind.schemes[0]}://"); '
            "no other can ask for them"
        )
    with closing(factory.connect(config.results, config.stores)) as store:
        return _show(config, task_id, _find(store, task_id, wait_s or 0.0), as_json, lambda: _UNKNOWN)


def _find(store: ResultStore, task_id: str, wait_s: float) -> ResultRecord | None:
    """Return the record as it is when the task has ended or the time is over; None for none."""
    found = store.wait([task_id], Deadline.after(wait_s)) if wait_s else {}
    data = found.get(task_id) or store.get([task_id]).get(task_id)
    return None if data is None else decode_record(data)


def _show(
    config: Config, task_id: str, record: ResultRecord | None, as_json: bool, guess: Callable[[], str]
) -> int:
    """Print it; ``guess`` says why a task may not have begun of which nobody knows anything."""
    if record is None or not record.is_final:
        _show_unended(config, task_id, record, as_json, guess)
        return exit_codes.TEMPFAIL
    failed = record.status != TaskState.SUCCESS.value
    value = _value(record)
    if as_json:
        echo_json(
            {"task_id": task_id, "state": record.status, "result": value, "traceback": record.traceback}
        )
    elif failed:
        click.echo(f"taskctl: task {task_id} ended as {record.status}: {_error(record)}", err=True)
        if record.traceback:
            click.echo(printable_block(record.traceback.rstrip()), err=True)
    elif isinstance(value, str):
        click.echo(value)
    else:
        echo_value(value)
    return exit_codes.FAILURE if failed else exit_codes.OK


def _show_unended(
    config: Config, task_id: str, record: ResultRecord | None, as_json: bool, guess: Callable[[], str]
) -> None:
    found = locate(config, task_id)
    state = TaskState.PENDING.value if record is None else record.status
    if found is None:
        said = printable(guess()) if record is None else f"it is {state}"
    elif record is None and found.stage is TaskStage.RUNS:
        state = TaskState.STARTED.value
        said = str(found)
    else:
        said = f"it is {state}: {found}"
    if as_json:
        echo_json(
            {
                "task_id": task_id,
                "state": state,
                "result": None if record is None else _value(record),
                "traceback": None if record is None else record.traceback,
                "where": said,
            }
        )
    else:
        click.echo(f"taskctl: task {task_id} has not ended; {said}", err=True)


def _value(record: ResultRecord) -> object:
    try:
        return record.value()
    except SerializationError:
        # A type that only the task's own program can build: its JSON still says what it holds.
        return bytes(record.result).decode("utf-8", "replace")


def _error(record: ResultRecord) -> str:
    """Return the exception in one line, from the record alone: its type need not exist here."""
    encoded = _value(record)
    if not isinstance(encoded, dict):
        return printable(str(encoded))
    message = encoded.get("exc_message")
    parts = message if isinstance(message, list) else [message]
    return printable(f"{encoded.get('exc_type')}: {', '.join(str(part) for part in parts)}")
