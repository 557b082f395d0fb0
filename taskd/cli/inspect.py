"""``taskctl inspect``: what the workers know and do, asked over the broker as ``celery inspect`` does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import click

from taskd.base import clock, exit_codes
from taskd.cli.commanding import command_of, one_cell
from taskd.cli.groups import CommandGroup
from taskd.cli.output import age, echo_json, echo_table, local_time_of, printable, size
from taskd.cli.remote import ask
from taskd.cli.session import Session
from taskd.protocol.commands import COMMANDS, CommandKind, CommandSpec

Row = tuple[object, ...]
#: Makes table rows of one node's answer.
Rows = Callable[[str, object], Iterator[Row]]

_ERROR = "error"


@click.group(cls=CommandGroup)
def inspect() -> None:
    """Ask the workers what they know and do.

    Example: taskctl inspect active
    """


def _records(answer: object) -> Iterator[Mapping[str, object]]:
    if isinstance(answer, list):
        yield from (each for each in answer if isinstance(each, dict))


def _ping_rows(node: str, answer: object) -> Iterator[Row]:
    yield node, answer.get("ok", "") if isinstance(answer, dict) else answer


def _task_rows(node: str, answer: object) -> Iterator[Row]:
    for task in _records(answer):
        started = task.get("time_start")
        running = age(clock.now() - started) if isinstance(started, (int, float)) else ""
        yield node, task.get("name"), task.get("id"), running, task.get("worker_pid") or "", _call(task)


def _scheduled_rows(node: str, answer: object) -> Iterator[Row]:
    for entry in _records(answer):
        task = entry.get("request")
        if isinstance(task, dict):
            yield (
                node,
                task.get("name"),
                task.get("id"),
                local_time_of(str(entry.get("eta") or "")),
                _call(task),
            )


def _name_rows(node: str, answer: object) -> Iterator[Row]:
    if isinstance(answer, list):
        yield from ((node, name) for name in answer)


def _report_rows(node: str, answer: object) -> Iterator[Row]:
    if isinstance(answer, dict):
        yield from ((node, line) for line in str(answer.get("ok", "")).splitlines())


def _stats_rows(node: str, answer: object) -> Iterator[Row]:
    if not isinstance(answer, dict):
        return
    pool, usage, total = (_table(answer, key) for key in ("pool", "rusage", "total"))
    peak = usage.get("maxrss")
    uptime = answer.get("uptime")
    done = sum(count for count in total.values() if isinstance(count, int))
    yield (
        node,
        answer.get("pid"),
        age(uptime) if isinstance(uptime, (int, float)) else "",
        str(pool.get("implementation", "")).rpartition(".")[2],
        pool.get("max-concurrency", ""),
        answer.get("prefetch_count", ""),
        done,
        size(peak * 1024) if isinstance(peak, (int, float)) else "",
    )


def _table(answer: Mapping[str, object], key: str) -> Mapping[str, object]:
    value = answer.get(key)
    return value if isinstance(value, dict) else {}


def _call(task: Mapping[str, object]) -> str:
    """Return the arguments as they were in the call, shortened."""
    args = task.get("args")
    kwargs = task.get("kwargs")
    parts = [repr(each) for each in args] if isinstance(args, list) else [str(args or "")]
    if isinstance(kwargs, dict):
        parts += [f"{key}={value!r}" for key, value in kwargs.items()]
    text = f"({', '.join(parts)})"
    return text if len(text) <= 80 else text[:77] + "..."


def _answer_rows(node: str, answer: object) -> Iterator[Row]:
    if isinstance(answer, dict) and "ok" not in answer:
        yield from ((node, key, one_cell(value)) for key, value in answer.items())
    elif isinstance(answer, list):
        yield from ((node, "", one_cell(each)) for each in answer)
    else:
        yield node, "", one_cell(answer)


_TASKS = ("NODE", "TASK", "ID", "RUNNING", "PID", "CALL")
#: The columns and rows of those answers that are more than names and values.
_TABLES: Mapping[str, tuple[Sequence[str], Rows]] = {
    "ping": (("NODE", "ANSWER"), _ping_rows),
    "active": (_TASKS, _task_rows),
    "reserved": (_TASKS, _task_rows),
    "scheduled": (("NODE", "TASK", "ID", "NOT BEFORE", "CALL"), _scheduled_rows),
    "registered": (("NODE", "TASK"), _name_rows),
    "revoked": (("NODE", "ID"), _name_rows),
    "revoked_names": (("NODE", "NAME OR HEADER"), _name_rows),
    "report": (("NODE", "KIND"), _report_rows),
    "stats": (
        ("NODE", "PID", "UP", "POOL", "CONCURRENCY", "PREFETCH", "DONE", "PEAK MEMORY"),
        _stats_rows,
    ),
}
_PLAIN: tuple[Sequence[str], Rows] = (("NODE", "NAME", "VALUE"), _answer_rows)


def _add(spec: CommandSpec) -> None:
    columns, rows = _TABLES.get(spec.name, _PLAIN)

    def question(
        session: Session,
        arguments: Mapping[str, object],
        *,
        timeout_s: float,
        destination: tuple[str, ...],
        as_json: bool,
    ) -> int:
        answers = ask(session.config, spec.name, arguments, destination=destination, timeout_s=timeout_s)
        errors = {node: error for node, answer in answers.items() if (error := _error_of(answer)) is not None}
        if as_json:
            echo_json({"nodes": answers})
        else:
            good = [(node, answer) for node, answer in answers.items() if node not in errors]
            echo_table(columns, [row for node, answer in good for row in rows(node, answer)])
            if spec.name == "active":
                _echo_open_ends(good)
            for node, error in errors.items():
                click.echo(printable(f"taskctl: {node} refused: {error}"), err=True)
        return exit_codes.FAILURE if errors else exit_codes.OK

    inspect.add_command(command_of(spec, question))


def _echo_open_ends(answers: Sequence[tuple[str, object]]) -> None:
    """Say of tasks that have run why they are still in the list."""
    for node, answer in answers:
        for task in _records(answer):
            match task.get("end"):
                case {"state": state, "since": float(since), "reason": reason}:
                    said = f"{task.get('id')} has run; the app has not stored its end {state}"
                    click.echo(printable(f"{node}: {said} for {age(clock.now() - since)}: {reason}"))


def _error_of(answer: object) -> object | None:
    return answer.get(_ERROR) if isinstance(answer, dict) else None


for _spec in COMMANDS:
    if _spec.kind is CommandKind.INSPECT and not _spec.hidden:
        _add(_spec)
