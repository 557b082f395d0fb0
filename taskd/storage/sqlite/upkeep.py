"""A file of SQLite as an operator sees it and keeps it in order."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from taskd.base.errors import StorageError
from taskd.base.formats import FormatMark, Formats
from taskd.base.plural import counted
from taskd.storage.sqlite.database import Connection, Database
from taskd.storage.sqlite.holders import users
from taskd.storage.sqlite.schema import Schema, mark_of
from taskd.storage.sqlite.space import STEP_PAGES, Pages, give_back, pages_of, settle_log, shorten_log
from taskd.storage.upkeep import Extent

#: Opens a file without making or bringing up a table.
_ANY = Schema("", ())
#: More live data takes longer to copy than others should wait.
_QUICK_BYTES = 32 * 1024 * 1024
#: Between two steps of a compaction, for the writes of others.
_PAUSE_S = 0.01
_MOST_PROBLEMS = 20


class FileUpkeep:
    """One room of one file.  ``invariants``: what must not be, by a statement that counts it."""

    def __init__(
        self,
        path: str,
        schema: Schema,
        *,
        durability: str,
        busy_timeout_s: float,
        invariants: Mapping[str, str] | None = None,
    ) -> None:
        self.place = path
        self._schema = schema
        self._durability = durability
        self._busy_timeout_s = busy_timeout_s
        self._invariants = invariants or {}

    @property
    def formats(self) -> Formats[object]:
        """The formats that this taskd knows."""
        return self._schema

    def mark(self) -> FormatMark | None:
        """Return the format that is there; None when the store is not made yet."""
        if not self._is_there():
            return None
        with self._opened() as database, database.read() as connection:
            found = mark_of(connection, self._schema.room, self.place)
        return found if found.format else None

    def extent(self) -> Extent | None:
        """Return how much room the file and its log take."""
        if not self._is_there():
            return None
        size_bytes = 0
        for path in (self.place, f"{self.place}-wal"):
            with suppress(OSError):
                size_bytes += os.path.getsize(path)
        with self._opened() as database, database.read() as connection:
            pages = pages_of(connection)
            return Extent(size_bytes, pages.used * _page_bytes(connection), pages.shrinks)

    def bring_up(self) -> None:
        """Make the steps that are due, in a store that is there."""
        if self.mark() is not None:
            with self._opened(self._schema):
                pass

    def problems(self) -> Sequence[str]:
        """Return what SQLite finds wrong with the file, and which rows contradict others."""
        if self.mark() is None:
            return ()
        with self._opened() as database, database.read() as connection:
            rows = connection.execute(f"PRAGMA integrity_check({_MOST_PROBLEMS})").fetchall()
            if rows != [("ok",)]:
                return [str(row[0]) for row in rows]
            found = []
            for what, statement in self._invariants.items():
                count = int(connection.execute(statement).fetchone()[0])
                if count:
                    found.append(f"{what}: {count}")
            return found

    def stalls(self) -> str:
        """Return why ``compact`` would keep others waiting for long; empty when it would not."""
        if not self._is_there():
            return ""
        with self._opened() as database, database.read() as connection:
            pages = pages_of(connection)
            live_bytes = pages.used * _page_bytes(connection)
        others = users(self.place)
        if pages.shrinks or live_bytes <= _QUICK_BYTES or not others:
            return ""
        waiting = counted(len(others), "process uses", "processes use")
        return (
            f"{self.place} shrinks only as a whole, and {waiting} it: writers wait while "
            f"{live_bytes // 2**20} MiB are copied"
        )

    def compact(self, pause: Callable[[float], object]) -> bool:
        """Give free pages back: in short steps, or as a whole in a file that has not learned it yet."""
        if not self._is_there():
            return False
        with self._opened() as database:
            with database.read() as connection:
                pages = pages_of(connection)
            if pages.shrinks:
                _shrink(database, pages, pause)
            else:
                _copy(database)
            shorten_log(database)
        return True

    def _is_there(self) -> bool:
        # An empty one is what a first opener leaves who was stopped at once.
        return os.path.exists(self.place) and os.path.getsize(self.place) > 0

    @contextmanager
    def _opened(self, schema: Schema = _ANY) -> Iterator[Database]:
        database = Database(
            self.place, schema, durability=self._durability, busy_timeout_s=self._busy_timeout_s
        )
        try:
            yield database
        finally:
            database.close()


def _shrink(database: Database, pages: Pages, pause: Callable[[float], object]) -> None:
    # No more than there are now: others free and fill pages meanwhile.
    left = pages.free
    while left > 0 and (given := give_back(database, min(left, STEP_PAGES))):
        left -= given
        settle_log(database)
        pause(_PAUSE_S)


def _copy(database: Database) -> None:
    """Write the file anew without its free pages, with the kind of vacuum that new files have."""
    with database.read() as connection:
        connection.execute("PRAGMA temp_store=FILE")  # the copy may be larger than the memory
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")
    with database.read() as connection:
        if not pages_of(connection).shrinks:
            raise StorageError(f"{database.path}: SQLite did not change the kind of its vacuum")


def _page_bytes(connection: Connection) -> int:
    return int(connection.execute("PRAGMA page_size").fetchone()[0])
