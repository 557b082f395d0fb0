"""How taskctl prints: tables for people, JSON for programs, one message for each failure."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, tzinfo
from typing import TYPE_CHECKING

import click

from taskd.base import clock, exit_codes, safe_text
from taskd.base.errors import TaskdError

if TYPE_CHECKING:
    from rich.table import Table

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")


#: Of the form of what --json prints; it grows when a key is renamed or removed, not when one is added.
JSON_VERSION = 1
#: The space that rich leaves between two columns of a table.
_GAP_COLUMNS = 2


class Failure(TaskdError):
    """A command did not do what was asked; the message goes to stderr, the code to the shell."""

    def __init__(self, message: str, exit_code: int = exit_codes.FAILURE) -> None:
        super().__init__(message)
        self.exit_code = exit_code


def echo_json(document: Mapping[str, object], *, in_a_line: bool = False) -> None:
    """Print the answer of a verb for programs: an object with its version, a list in it by a name.

    ``in_a_line`` is for those that print one after the other.  A repr stands for what JSON does not know.
    """
    versioned = {"version": JSON_VERSION, **document}
    if in_a_line:
        click.echo(json_line(versioned))
    else:
        echo_value(versioned)


def echo_value(value: object) -> None:
    """Print a value of a task for people, as JSON."""
    click.echo(safe_text.json_text(json.dumps(value, indent=2, ensure_ascii=False, default=repr)))


def echo_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    right: Sequence[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """Print a table, as wide as it needs to be when nobody watches; ``right`` columns hold numbers.

    In a terminal that is too narrow the ``spare`` columns are left out, the first ones first.
    """
    rows = list(rows)
    if not rows:
        click.echo("nothing to show")
        return
    # Imported here: --json and most failures do without its 60 ms.
    from rich.console import Console

    width = None if sys.stdout.isatty() else 4096
    console = Console(file=sys.stdout, width=width, markup=False, highlight=False, emoji=False)
    columns, rows = fitting(columns, rows, console.width, spare)
    console.print(table(columns, rows, right=right))


def fitting(
    columns: Sequence[str], rows: Sequence[Sequence[object]], width: int, spare: Sequence[str]
) -> tuple[Sequence[str], Sequence[Sequence[object]]]:
    """Return the columns and rows without as many of the ``spare`` columns as it takes to fit the width."""
    widths = {
        column: max(len(column), *(len(str(row[number])) for row in rows)) if rows else len(column)
        for number, column in enumerate(columns)
    }
    for column in spare:
        if sum(widths.values()) + _GAP_COLUMNS * (len(widths) - 1) <= width:
            break
        del widths[column]
    kept = [number for number, column in enumerate(columns) if column in widths]
    return list(widths), [[row[number] for number in kept] for row in rows]


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[str] = ()) -> Table:
    """Return a table for rich; nothing in it can steer the terminal."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*(Text(printable(str(cell))) for cell in row))
    return made


def printable(text: str) -> str:
    """Return text in one line that cannot steer the terminal: names and errors come from others' messages."""
    return safe_text.one_line(text)


def printable_block(text: str) -> str:
    """Return text of several lines that cannot steer the terminal; all but the first are indented."""
    return safe_text.block(text)


def json_line(value: object) -> str:
    """Return a value as one line of JSON, for what is followed."""
    return safe_text.json_text(json.dumps(value, ensure_ascii=False, default=repr))


def age(seconds: float) -> str:
    """Return a span for people: ``950ms``, ``12s``, ``3m04s``, ``2h05m``, ``4d03h``."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f}ms"
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def size(count: float) -> str:
    """Return a number of bytes for people: ``12.3 MiB``."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def local_time(at: float, zone: tzinfo | None = None) -> str:
    """Return a wall-clock second with its offset, in the reader's own zone or another.

    It is the one form in which taskctl shows people a moment.
    """
    return clock.utc(at).astimezone(zone).isoformat(sep=" ", timespec="seconds")


def local_time_of(text: str) -> str:
    """Return a moment that came as ISO 8601 in that form; one that names no zone, or is not one, as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo is None else local_time(moment.timestamp())
