"""Revocations in one file beside the broker's, for all workers of that broker.

A worker writes the revocations that it hears and reads the file whenever its inner blueprint starts.
So all workers know the same, also when no other is there to be asked.  That goes for one that was restarted,
that is new, or that had lost its broker for a while.  The file is made by the first revocation and opened by
the worker when there is one: without any, there is no descriptor and no memory for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.config.stores import SqliteConfig, Stores
from taskd.revocations.known import KEEP_S, MAX_IDS, By, Revocations
from taskd.storage.sqlite.database import Connection, Database, path_of
from taskd.storage.sqlite.schema import Schema, SqlStep
from taskd.storage.sqlite.upkeep import FileUpkeep

T = TypeVar("T")

#: Appended to the name of the broker's file.
SUFFIX = ".revoked"
#: The event loop waits no longer than this for another worker's write.
_BUSY_S = 1.0
#: Old and surplus rows are deleted this often at most: it takes a look at every row.
_PRUNE_EVERY_S = 60.0

_TABLE = "CREATE TABLE revoked(kind TEXT, what TEXT, at REAL NOT NULL, PRIMARY KEY(kind, what)) WITHOUT ROWID"
#: A step never changes once a release has it.
SCHEMA = Schema("revoked", (SqlStep(1, 1, (_TABLE,)),))


class RevocationFile:
    """The revoked ids, names and stamps of one broker on disk.  Every method raises ``StorageError``."""

    def __init__(self, path: str, sqlite: SqliteConfig) -> None:
        self._path = path
        self._sqlite = sqlite
        self._database: Database | None = None
        self._prune_from = 0.0

    def load(self, into: Revocations) -> None:
        """Take over everything in the file that is not too old and not known yet."""
        if not os.path.exists(self._path):
            return
        now = clock.monotonic()
        now_at = clock.now()
        rows = self._use(
            lambda database: _all(
                database, "SELECT kind, what, at FROM revoked WHERE at > ? ORDER BY at", now_at - KEEP_S
            )
        )
        kinds = {kind.value: into[kind] for kind in By}
        for kind, what, at in rows:
            known = kinds[kind]
            if what not in known:
                # Its age counts from when it was revoked, not from this start.
                known.add((what,), now - max(0.0, now_at - at))

    def add(self, kind: By, what: Iterable[str]) -> None:
        """Write revocations; one that a neighbour has just written stays as it is."""
        now_at = clock.now()
        rows = [(kind.value, each, now_at) for each in what]

        def write(connection: Connection) -> None:
            connection.executemany(
                "INSERT INTO revoked(kind, what, at) VALUES(?,?,?)"
                " ON CONFLICT DO UPDATE SET at=excluded.at WHERE at < excluded.at - 60",
                rows,
            )
            if clock.monotonic() >= self._prune_from:
                self._prune_from = clock.monotonic() + _PRUNE_EVERY_S
                _prune(connection, now_at)

        self._write(write)

    def discard(self, kind: By, what: Iterable[str]) -> None:
        """Delete revocations, whether they are there or not."""
        rows = [(kind.value, each) for each in what]
        if os.path.exists(self._path):
            self._write(
                lambda connection: connection.executemany("DELETE FROM revoked WHERE kind=? AND what=?", rows)
            )

    def close(self) -> None:
        """Release the file.  May be called twice; the next call of another method opens it again."""
        if self._database is not None:
            self._database.close()
            self._database = None

    def _write(self, change: Callable[[Connection], object]) -> None:
        def write(database: Database) -> None:
            with database.write() as connection:
                change(connection)

        self._use(write)

    def _use(self, work: Callable[[Database], T]) -> T:
        """Do something with the open file; one that fails is opened anew the next time."""
        try:
            if self._database is not None and not self._database.is_in_place():
                self.close()
            if self._database is None:
                self._database = Database(
                    self._path,
                    SCHEMA,
                    durability=self._sqlite.durability,
                    busy_timeout_s=min(self._sqlite.busy_timeout, _BUSY_S),
                )
            return work(self._database)
        except StorageError:
            self.close()
            raise


def _prune(connection: Connection, now_at: float) -> None:
    connection.execute("DELETE FROM revoked WHERE at <= ?", (now_at - KEEP_S,))
    for kind in By:
        (count,) = connection.execute("SELECT count(*) FROM revoked WHERE kind=?", (kind.value,)).fetchone()
        if count > MAX_IDS:
            connection.execute(
                "DELETE FROM revoked WHERE kind=?1 AND what IN"
                " (SELECT what FROM revoked WHERE kind=?1 ORDER BY at LIMIT ?2)",
                (kind.value, count - MAX_IDS),
            )


def _all(database: Database, query: str, *parameters: object) -> list[tuple[str, str, float]]:
    with database.read() as connection:
        return connection.execute(query, parameters).fetchall()


def open_state(broker_url: str, stores: Stores) -> RevocationFile:
    """Return what belongs to the broker of a URL; no file is opened yet."""
    return RevocationFile(path_of(broker_url) + SUFFIX, stores.sqlite)


def open_upkeep(broker_url: str, stores: Stores) -> FileUpkeep:
    """Return the file beside a broker for ``taskctl store``; it is not opened yet."""
    return FileUpkeep(
        path_of(broker_url) + SUFFIX,
        SCHEMA,
        durability=stores.sqlite.durability,
        busy_timeout_s=stores.sqlite.busy_timeout,
    )
