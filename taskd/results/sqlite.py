"""Results in a SQLite file; whoever waits, in any process, is woken by the commit.

A waiter listens to a number made from each task id, so that a busy worker does not wake everybody
who waits for something else.  With nobody waiting, ``store`` pays one stat(2) for it.
"""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Mapping, Sequence
from zlib import crc32

import msgspec

from taskd.config.stores import SqliteConfig
from taskd.errors import StorageError
from taskd.lifecycle import Deadline
from taskd.protocol.results import FINAL_STATES
from taskd.results.base import StoredResult
from taskd.storage.sqlite import Database, Schema, path_of
from taskd.storage.wake import WakeListener, WakeSender
from taskd.wakeup import Readable

SCHEMA = Schema(
    "results",
    1,
    (
        """CREATE TABLE result(
            number INTEGER PRIMARY KEY,
            task_id TEXT NOT NULL UNIQUE,
            state TEXT NOT NULL,
            record BLOB NOT NULL,
            expires_at REAL
        )""",
        "CREATE INDEX result_expiry ON result(expires_at) WHERE expires_at IS NOT NULL",
    ),
)
_STORE = """
INSERT INTO result(task_id, state, record, expires_at) VALUES(?,?,?,?)
ON CONFLICT(task_id) DO UPDATE
SET state=excluded.state, record=excluded.record, expires_at=excluded.expires_at
WHERE result.state <> 'SUCCESS' OR excluded.state = 'SUCCESS'
"""
_AMONG = "task_id IN (SELECT value FROM json_each(?))"
_FINAL = ",".join(f"'{state.value}'" for state in sorted(FINAL_STATES))
_EXPIRE = (
    "DELETE FROM result WHERE number IN"
    " (SELECT number FROM result WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)"
)
_EXPIRE_AT_ONCE = 1000
#: How often a waiter looks by itself: wake-ups are hints.
_LOOK_S = 1.0
#: How long whoever is in a hurry waits for other processes all the same.
_PATIENCE_S = 1.0

_encode_json = msgspec.json.Encoder().encode


class SqliteResults:
    """``ResultStore`` over one file, opened at the first use; a forked child opens it anew."""

    def __init__(self, url: str, config: SqliteConfig) -> None:
        self._path = path_of(url)
        self._config = config
        self._closed = False
        self._start()

    def _start(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._opened: tuple[Database, WakeSender] | None = None

    def _lock_here(self) -> threading.Lock:
        if self._pid != os.getpid():
            if self._opened is not None:
                self._opened[0].close()
            self._start()  # the lock may be held by a thread of the parent
        return self._lock

    def _open(self, limit_s: float = math.inf) -> tuple[Database, WakeSender]:
        """Return the open file, which waits for other processes at most ``limit_s`` or ``busy_timeout``."""
        if self._closed:
            raise StorageError(f"{self._path}: this result store is closed")
        if self._opened is not None and not self._opened[0].is_in_place():
            self._shut()  # somebody replaced the file
        limit_s = min(self._config.busy_timeout, max(limit_s, _PATIENCE_S))
        if self._opened is None:
            database = Database(
                self._path, SCHEMA, durability=self._config.durability, busy_timeout_s=limit_s
            )
            self._opened = (database, WakeSender(self._path))
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
        with self._lock_here():
            database, sender = self._open()
            with database.write() as connection:
                connection.executemany(_STORE, rows)
            if sender.anyone():
                sender.wake({_topic(result.task_id) for result in results})

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
    ) -> Mapping[str, bytes]:
        with self._lock_here(), self._open(limit_s)[0].read() as connection:
            return dict(connection.execute(statement, (_encode_json(task_ids).decode(),)).fetchall())

    def wait(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Block until at least one of the tasks is in a final state; return all final ones."""
        final = self._final(task_ids, deadline)
        if final or not task_ids or deadline.passed:
            return final
        listener = WakeListener(self._path, {_topic(task_id) for task_id in task_ids})
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

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records; unknown ids are no error."""
        with self._lock_here(), self._open()[0].write() as connection:
            connection.execute(
                f"DELETE FROM result WHERE {_AMONG}",  # noqa: S608
                (_encode_json(task_ids).decode(),),
            )

    def expire(self, now: float) -> int:
        """Delete records whose time has come, in short transactions; return how many."""
        expired = 0
        while True:
            with self._lock_here(), self._open()[0].write() as connection:
                deleted = connection.execute(_EXPIRE, (now, _EXPIRE_AT_ONCE)).rowcount
            expired += deleted
            if deleted < _EXPIRE_AT_ONCE:
                return expired

    def close(self) -> None:
        """Release the file.  May be called twice."""
        with self._lock_here():
            self._closed = True
            self._shut()

    def _shut(self) -> None:
        if self._opened is not None:
            for part in self._opened:
                part.close()
            self._opened = None


def _topic(task_id: str) -> int:
    return crc32(task_id.encode("utf-8", "surrogatepass"))
