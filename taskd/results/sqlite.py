"""Results in a SQLite file; the commit wakes the waiting clients of all processes.

A waiter listens to a number made from each task id, so that a busy worker does not wake clients
that wait for other tasks.  With nobody waiting, ``store`` pays one stat(2) for it.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping, Sequence
from typing import Any
from weakref import WeakSet

from taskd.base import clock, forks
from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.base.wakeup import Readable
from taskd.config.stores import SqliteConfig, Stores
from taskd.protocol.results import FINAL_STATES
from taskd.results.base import Post, StoredResult
from taskd.results.collecting import SourceCollector
from taskd.results.sqlite_arrivals import NEWEST, SqliteArrivals, encode_json, topic_of
from taskd.storage.sqlite.database import Database, path_of
from taskd.storage.sqlite.schema import Schema, SqlStep
from taskd.storage.sqlite.space import Space
from taskd.storage.sqlite.upkeep import FileUpkeep
from taskd.storage.sqlite.wake import WakeListener, WakeSender

_TABLES = (
    """CREATE TABLE result(
        number INTEGER PRIMARY KEY,
        task_id TEXT NOT NULL UNIQUE,
        state TEXT NOT NULL,
        record BLOB NOT NULL,
        expires_at REAL
    )""",
    "CREATE INDEX result_expiry ON result(expires_at) WHERE expires_at IS NOT NULL",
)
#: A step never changes once a release has it.
SCHEMA = Schema("results", (SqlStep(1, 1, _TABLES),))
_STORE = """
INSERT INTO result(task_id, state, record, expires_at) VALUES(?,?,?,?)
ON CONFLICT(task_id) DO UPDATE
SET state=excluded.state, record=excluded.record, expires_at=excluded.expires_at
WHERE result.state <> 'SUCCESS' OR excluded.state = 'SUCCESS'
"""
_AMONG = "task_id IN (SELECT value FROM json_each(?))"
_FINAL = ",".join(f"'{state.value}'" for state in sorted(FINAL_STATES))
_ENDS = f"SELECT task_id, CASE WHEN state IN ({_FINAL}) THEN record END FROM result WHERE {_AMONG}"  # noqa: S608
_EXPIRE = (
    "DELETE FROM result WHERE number IN"
    " (SELECT number FROM result WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)
_EXPIRE_AT_ONCE = 1000
#: How often a waiter looks by itself: wake-ups are hints.
_LOOK_S = 1.0
#: How long whoever is in a hurry waits for other processes all the same.
_PATIENCE_S = 1.0


class SqliteResults:
    """``ResultStore`` over one file, opened at the first use; a forked child opens it anew."""

    def __init__(self, url: str, config: SqliteConfig) -> None:
        #: Of the file, absolute.
        self.path = path_of(url)
        self._config = config
        self._closed = False
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock and a file of its own."""
        self._lock = threading.Lock()
        self._opened: tuple[Database, WakeSender] | None = None
        self._space: Space | None = None
        self._collecting: WeakSet[SqliteArrivals] = WeakSet()

    def _open(self, limit_s: float = math.inf) -> tuple[Database, WakeSender]:
        """Return the open file, which waits for other processes at most ``limit_s`` or ``busy_timeout``."""
        if self._closed:
            raise StorageError(f"{self.path}: this result store is closed")
        if self._opened is not None and not self._opened[0].is_in_place():
            self._shut()  # somebody replaced the file
        limit_s = min(self._config.busy_timeout, max(limit_s, _PATIENCE_S))
        if self._opened is None:
            database = Database(self.path, SCHEMA, durability=self._config.durability, busy_timeout_s=limit_s)
            self._opened = (database, WakeSender(self.path))
        if self._opened[0].limit_s != limit_s:
            self._opened[0].be_patient_for(limit_s)
        return self._opened

    def reply_to(self) -> str:
        """Return no queue: records are kept here."""
        return ""

    def store(self, results: Sequence[StoredResult]) -> None:
        """Write all records in one transaction, and wake those who wait for them."""
        if not results:
            return
        rows = [(result.task_id, result.state, result.record, result.expires_at) for result in results]
        with self._lock:
            database, sender = self._open()
            with database.write() as connection:
                connection.executemany(_STORE, rows)
            if sender.anyone():
                sender.wake({topic_of(result.task_id) for result in results})

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the records that exist, by task id."""
        return self._select(f"SELECT task_id, record FROM result WHERE {_AMONG}", task_ids)  # noqa: S608

    def _final(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        return self._select(
            f"SELECT task_id, record FROM result WHERE {_AMONG} AND state IN ({_FINAL})",  # noqa: S608
            task_ids,
            deadline.remaining_s(),
        )

    def _select(
        self, statement: str, task_ids: Sequence[str], limit_s: float = math.inf
    ) -> Mapping[str, Any]:
        with self._lock, self._open(limit_s)[0].read() as connection:
            return dict(connection.execute(statement, (encode_json(task_ids).decode(),)).fetchall())

    def wait(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Block until at least one of the tasks is in a final state; return all final ones."""
        final = self._final(task_ids, deadline)
        if final or not task_ids or deadline.passed:
            return final
        listener = WakeListener(self.path, {topic_of(task_id) for task_id in task_ids})
        try:
            readable = Readable(listener.fileno())
            while True:
                final = self._final(task_ids, deadline)
                if final or deadline.passed:
                    return final
                readable.within(min(deadline.remaining_s(), _LOOK_S))
                listener.clear()
        finally:
            listener.close()

    def collect(self, task_ids: Collection[str]) -> SourceCollector:
        """Return what finds the final records of many tasks as they arrive."""
        arrivals = SqliteArrivals(self, task_ids)
        self._collecting.add(arrivals)
        return SourceCollector(arrivals, task_ids)

    def ends_of(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes | None]:
        """Return the final records, and None for tasks with a record that is not final yet."""
        return self._select(_ENDS, task_ids, deadline.remaining_s())

    def read(
        self, deadline: Deadline, statement: str, *values: object
    ) -> tuple[list[tuple[Any, ...]], Database]:
        """Return the rows of one question, and the open file: another one after it was replaced."""
        with self._lock:
            database = self._open(deadline.remaining_s())[0]
            with database.read() as connection:
                return connection.execute(statement, values).fetchall(), database

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records; unknown ids are not an error."""
        with self._lock, self._open()[0].write() as connection:
            connection.execute(
                f"DELETE FROM result WHERE {_AMONG}",  # noqa: S608
                (encode_json(task_ids).decode(),),
            )
            end = connection.execute(NEWEST).fetchone()[0]
        for arrivals in list(self._collecting):
            arrivals.lower(end)  # SQLite gives the numbers of the last rows again

    def expire(self, now: float) -> int:
        """Delete records whose time has come, in short transactions, and give space back; return how many."""
        expired = 0
        deleted = _EXPIRE_AT_ONCE
        while deleted == _EXPIRE_AT_ONCE:
            with self._lock, self._open()[0].write() as connection:
                deleted = connection.execute(_EXPIRE, (now, _EXPIRE_AT_ONCE)).rowcount
            expired += deleted
        with self._lock:
            database = self._open()[0]
            if self._space is None or self._space.database is not database:
                self._space = Space(database)
            self._space.turn(clock.monotonic())
        return expired

    def close(self) -> None:
        """Release the file.  May be called twice."""
        with self._lock:
            self._closed = True
            self._shut()

    def _shut(self) -> None:
        if self._opened is not None:
            for part in self._opened:
                part.close()
            self._opened = None


def open_results(url: str, stores: Stores, post: Post | None) -> SqliteResults:  # noqa: ARG001
    """Return the store of a URL; no file is opened yet."""
    return SqliteResults(url, stores.sqlite)


def open_upkeep(url: str, stores: Stores) -> FileUpkeep:
    """Return the file of a URL for ``taskctl store``; it is not opened yet."""
    return FileUpkeep(
        path_of(url),
        SCHEMA,
        durability=stores.sqlite.durability,
        busy_timeout_s=stores.sqlite.busy_timeout,
    )
