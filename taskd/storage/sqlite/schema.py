"""The tables of one room in a file: what it says of itself, and the steps that bring it up.

A file keeps one row for each room in ``taskd_schema``: the lowest reader, under the name ``version`` by which
the first release compares it with its own.  The format stands in a row ``ROOM.format``, where it differs.
Rooms share a file when an operator gives them the same URL.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from taskd.base.errors import NewerFormatError, StorageError
from taskd.base.formats import NOTHING, FormatMark, Formats, FormatStep

#: A statement, or what changes rows in a way that no statement can; it neither begins nor ends a transaction.
SqlChange = str | Callable[[sqlite3.Connection], object]
Schema = Formats[SqlChange]
SqlStep = FormatStep[SqlChange]

_MARKS = "CREATE TABLE IF NOT EXISTS taskd_schema(room TEXT PRIMARY KEY, version INTEGER NOT NULL)"
_NOTE = "INSERT OR REPLACE INTO taskd_schema(room, version) VALUES(?,?)"
_FORMAT = ".format"


def mark_of(connection: sqlite3.Connection, room: str, path: str) -> FormatMark:
    """Return what the file says of the room's tables.

    Raises: ``StorageError`` for the file of another program.
    """
    tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")}
    if "taskd_schema" in tables:
        return marks(connection).get(room, NOTHING)
    if tables:
        raise StorageError(
            f"{path} belongs to another program (tables {', '.join(sorted(tables)[:3])}); "
            "give taskd a file of its own"
        )
    return NOTHING


def marks(connection: sqlite3.Connection) -> dict[str, FormatMark]:
    """Return what the file says of each room that has tables in it."""
    rows: dict[str, int] = dict(connection.execute("SELECT room, version FROM taskd_schema").fetchall())
    return {
        room: FormatMark(rows.get(room + _FORMAT, lowest), lowest)
        for room, lowest in rows.items()
        if not room.endswith(_FORMAT)
    }


def check(connection: sqlite3.Connection, schema: Schema, path: str) -> FormatMark:
    """Return what the file says of the room.

    Raises: ``NewerFormatError`` for what only a newer taskd can read, ``StorageError`` as ``mark_of``.
    """
    found = mark_of(connection, schema.room, path)
    refusal = schema.refusal(found)
    if refusal is not None:
        raise NewerFormatError(f"{path} {refusal}")
    return found


def bring_up(connection: sqlite3.Connection, schema: Schema, path: str) -> bool:
    """Make the next step inside an open transaction, or all of them in a new room; False when none is due.

    Raises: as ``check``.
    """
    found = check(connection, schema, path)
    due = schema.due(found)
    if not due:
        return False  # another process was faster
    connection.execute(_MARKS)
    for step in due if found == NOTHING else due[:1]:
        for change in step.changes:
            if isinstance(change, str):
                connection.execute(change)
            else:
                change(connection)
        found = step.mark
    connection.execute(_NOTE, (schema.room, found.lowest_reader))
    if found.format != found.lowest_reader:
        connection.execute(_NOTE, (schema.room + _FORMAT, found.format))
    else:
        connection.execute("DELETE FROM taskd_schema WHERE room=?", (schema.room + _FORMAT,))
    return True
