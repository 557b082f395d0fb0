"""Print the tables of options in ``docs/tasks.md``: ``python -m taskd.sending.reference``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import MISSING, Field, fields

from taskd.sending.options import SEND, TASK, TaskSettings


def task_table() -> str:
    """Return the options of a task as a table in Markdown."""
    declared = {each.name: each for each in fields(TaskSettings)}
    return _table(
        ("option", "default", "meaning"),
        [(f"`{name}`", _default(declared[name]), option.meaning) for name, option in TASK.items()],
    )


def send_table() -> str:
    """Return the options of a send as a table in Markdown."""
    return _table(
        ("option", "takes", "meaning"),
        [(f"`{name}`", option.form.expected, option.meaning) for name, option in SEND.items()],
    )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace(
        "| --- | --- | --- |", "|---|---|---|"
    )


def _default(field: Field[object]) -> str:
    """Return a default as an author writes it."""
    default = field.default
    if default is MISSING:
        return "`module.function`"
    if default in ("", ()):
        return "none"
    return (
        f"`{default:g}`"
        if type(default) is float
        else f"`{getattr(default, 'value', default)!r}`".replace("'", '"')
    )


def main() -> None:
    """Print both tables."""
    sys.stdout.write(f"{task_table()}\n{send_table()}")


if __name__ == "__main__":
    main()
