"""The operator's desk on the embedded broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import msgspec

from taskd.base import forks
from taskd.base.errors import StorageError
from taskd.brokers.desk import ALL_DEAD, DeadFilter, DeadLetter, DeadMessage, QueueInfo
from taskd.brokers.sqlite.queues import ensure_queue, purge_queue, queue_id
from taskd.brokers.sqlite.store import BrokerFile

_QUEUES = """
SELECT q.name,
    (SELECT count(*) FROM ready WHERE queue=q.id),
    (SELECT count(*) FROM delayed WHERE queue=q.id),
    (SELECT count(*) FROM claimed WHERE queue=q.id),
    (SELECT count(*) FROM dead WHERE queue=q.name)
FROM queue q WHERE q.expires_s IS NULL ORDER BY q.name
"""
_LETTER = "d.id, d.queue, d.task, m.task_id, d.reason, d.died_at, d.deaths"
_MESSAGE = "d.evidence, m.headers, m.body, m.content_type, m.content_encoding"
_LETTER_FIELDS = 7
_JOINED = "dead d JOIN message m ON m.id=d.id"
#: Parameters of ``_parameters``.
_WHICH = (
    "(?1 IS NULL OR d.task=?1) AND (?2 IS NULL OR d.queue=?2) AND (?3 IS NULL OR d.died_at>=?3)"
    " AND (?4 IS NULL OR d.id IN (SELECT value FROM json_each(?4)))"
)
_LIST = f"SELECT {_LETTER} FROM {_JOINED} WHERE {_WHICH} ORDER BY d.died_at DESC, d.id DESC LIMIT ?5"  # noqa: S608 - constants
_SHOW = f"SELECT {_LETTER}, {_MESSAGE} FROM {_JOINED} WHERE d.id=?"  # noqa: S608 - constants
_IDS = f"SELECT d.id FROM dead d WHERE {_WHICH} ORDER BY d.died_at, d.id"  # noqa: S608 - constants

_TO_READY = "INSERT INTO ready(queue, rank, id, deliveries, deaths) VALUES(?,?,?,0,0)"


class SqliteDesk:
    """``Desk`` over one file; the file is opened at the first call.  Safe to share between threads."""

    def __init__(self, open_store: Callable[[], BrokerFile]) -> None:
        self._open_store = open_store
        self.closed = False
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock and a file of its own."""
        self._lock = threading.Lock()
        self._opened: BrokerFile | None = None

    @property
    def _store(self) -> BrokerFile:
        if self.closed:
            raise StorageError("this desk is closed; ask the broker for a new one")
        if self._opened is None:
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

    def dead_letters(self, which: DeadFilter = ALL_DEAD, limit: int = 100) -> Sequence[DeadLetter]:
        """Return up to ``limit`` dead letters, the newest first."""
        with self._lock, self._store.database.read() as connection:
            return [DeadLetter(*row) for row in connection.execute(_LIST, (*_parameters(which), limit))]

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one dead letter with its evidence and message; None when there is none of this id."""
        with self._lock, self._store.database.read() as connection:
            row = connection.execute(_SHOW, (letter_id,)).fetchone()
        return row and DeadMessage(DeadLetter(*row[:_LETTER_FIELDS]), *row[_LETTER_FIELDS:])

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of dead letters, the oldest first."""
        with self._lock, self._store.database.read() as connection:
            return [row[0] for row in connection.execute(_IDS, _parameters(which))]

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
                    connection.execute(_TO_READY, (queue, row[1], number))
                    woken.add(queue)
                    requeued += 1
            store.wake(woken)
        return requeued

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these dead letters; return how many there were."""
        with self._lock, self._store.database.write() as connection:
            rows = [(number,) for number in ids]
            connection.executemany("DELETE FROM message WHERE id IN (SELECT id FROM dead WHERE id=?)", rows)
            return connection.executemany("DELETE FROM dead WHERE id=?", rows).rowcount

    def close(self) -> None:
        """Release the file.  May be called twice."""
        self.closed = True
        if self._opened is not None:
            self._opened.close()
            self._opened = None


def _parameters(which: DeadFilter) -> tuple[str | None, str | None, float | None, str | None]:
    ids = None if which.ids is None else msgspec.json.encode(which.ids).decode()
    return which.task, which.queue, which.since_at, ids
