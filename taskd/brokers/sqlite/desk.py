"""What an operator sees and does on the embedded broker."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence

from taskd.brokers.base import DeadLetter, QueueInfo
from taskd.brokers.sqlite.queues import ensure_queue, purge_queue, queue_id
from taskd.brokers.sqlite.store import Store
from taskd.errors import StorageError

_QUEUES = """
SELECT q.name,
    (SELECT count(*) FROM ready WHERE queue=q.id),
    (SELECT count(*) FROM delayed WHERE queue=q.id),
    (SELECT count(*) FROM claimed WHERE queue=q.id),
    (SELECT count(*) FROM dead WHERE queue=q.name)
FROM queue q WHERE q.expires_s IS NULL ORDER BY q.name
"""
_DEAD = """
SELECT d.id, d.queue, m.task_id, d.reason, d.evidence, d.died_at, d.deaths, m.headers, m.body, m.content_type
FROM dead d JOIN message m ON m.id=d.id
WHERE ?1 IS NULL OR d.queue=?1 ORDER BY d.died_at DESC, d.id DESC LIMIT ?2
"""


class SqliteDesk:
    """``Desk`` over one file; the file is opened at the first call.  Safe to share between threads."""

    def __init__(self, open_store: Callable[[], Store]) -> None:
        self._open_store = open_store
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._opened: Store | None = None
        self.closed = False

    @property
    def _store(self) -> Store:
        if self.closed:
            raise StorageError("this desk is closed; ask the broker for a new one")
        if self._opened is not None and self._pid != os.getpid():
            self._opened.close()
            self._opened = None
        if self._opened is None:
            self._pid = os.getpid()
            self._opened = self._open_store()
        return self._opened

    def queues(self) -> Sequence[QueueInfo]:
        """Return all durable queues, by name."""
        with self._lock, self._store.database.read() as connection:
            return [QueueInfo(*row) for row in connection.execute(_QUEUES)]

    def purge(self, queue: str) -> int:
        """Delete the ready and delayed messages of a queue; return how many."""
        with self._lock, self._store.database.write() as connection:
            number = queue_id(connection, queue)
            return 0 if number is None else purge_queue(connection, number)

    def dead_letters(self, limit: int = 100, queue: str | None = None) -> Sequence[DeadLetter]:
        """Return the newest dead letters first."""
        with self._lock, self._store.database.read() as connection:
            return [DeadLetter(*row) for row in connection.execute(_DEAD, (queue, limit))]

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send dead letters to their queues again; return how many."""
        woken = set()
        with self._lock:
            store = self._store
            with store.database.write() as connection:
                requeued = 0
                for number in ids:
                    row = connection.execute(
                        "DELETE FROM dead WHERE id=? RETURNING queue, rank", (number,)
                    ).fetchone()
                    if row is None:
                        continue
                    queue = ensure_queue(connection, row[0])
                    connection.execute("INSERT INTO ready VALUES(?,?,?,0,0)", (queue, row[1], number))
                    woken.add(queue)
                    requeued += 1
            store.wake(woken)
        return requeued

    def purge_dead(self, ids: Sequence[int] | None = None) -> int:
        """Delete these dead letters, or all of them with None; return how many."""
        with self._lock, self._store.database.write() as connection:
            if ids is None:
                connection.execute("DELETE FROM message WHERE id IN (SELECT id FROM dead)")
                return connection.execute("DELETE FROM dead").rowcount
            rows = [(number,) for number in ids]
            connection.executemany("DELETE FROM message WHERE id IN (SELECT id FROM dead WHERE id=?)", rows)
            return connection.executemany("DELETE FROM dead WHERE id=?", rows).rowcount

    def close(self) -> None:
        """Release the file.  May be called twice."""
        self.closed = True
        if self._opened is not None:
            self._opened.close()
            self._opened = None
