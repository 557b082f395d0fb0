"""The operator's desk on the embedded broker."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from taskd.base import forks
from taskd.base.errors import StorageError
from taskd.brokers.dead import never_tried
from taskd.brokers.desk import ALL_DEAD, DeadFilter, DeadLetter, DeadMessage, QueueInfo
from taskd.brokers.sqlite.queues import ensure_queue, purge_queue, queue_id
from taskd.brokers.sqlite.store import BrokerFile
from taskd.protocol.delivery import LetterKind

_QUEUES = """
SELECT q.name,
    (SELECT count(*) FROM ready WHERE queue=q.id),
    (SELECT count(*) FROM delayed WHERE queue=q.id),
    (SELECT count(*) FROM claimed WHERE queue=q.id),
    (SELECT count(*) FROM dead WHERE queue=q.name AND kind='dead'),
    (SELECT count(*) FROM dead WHERE queue=q.name AND kind='failed')
FROM queue q WHERE q.expires_s IS NULL ORDER BY q.name
"""
_LETTER = "d.id, d.queue, d.task, m.task_id, d.reason, d.died_at, d.deaths, d.kind"
_MESSAGE = "d.evidence, m.headers, m.body, m.content_type, m.content_encoding"
_LETTER_FIELDS = 8
_JOINED = "dead d JOIN message m ON m.id=d.id"
#: Parameters of ``_parameters``.
_WHICH = (
    "(?1 IS NULL OR d.task=?1) AND (?2 IS NULL OR d.queue=?2) AND (?3 IS NULL OR d.died_at>=?3)"
    " AND (?4 IS NULL OR d.id IN (SELECT value FROM json_each(?4))) AND (?5 IS NULL OR d.kind=?5)"
)
_LIST = f"SELECT {_LETTER} FROM {_JOINED} WHERE {_WHICH} ORDER BY d.died_at DESC, d.id DESC LIMIT ?6"  # noqa: S608 - constants
_SHOW = f"SELECT {_LETTER}, {_MESSAGE} FROM {_JOINED} WHERE d.id=?"  # noqa: S608 - constants
_IDS = f"SELECT d.id FROM dead d WHERE {_WHICH} ORDER BY d.died_at, d.id"  # noqa: S608 - constants

_CHOSEN = "IN (SELECT value FROM json_each(?))"
_ANEW = (
    "SELECT d.id, d.queue, d.rank, CASE d.kind WHEN 'failed' THEN m.headers END"  # noqa: S608 - constants
    f" FROM dead d JOIN message m ON m.id=d.id WHERE d.id {_CHOSEN}"
)
_GONE = f"DELETE FROM dead WHERE id {_CHOSEN}"  # noqa: S608 - constants
_WITH_HEADERS = "UPDATE message SET headers=? WHERE id=?"
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
        """Return up to ``limit`` letters, the newest first."""
        with self._lock, self._store.database.read() as connection:
            return [_letter(row) for row in connection.execute(_LIST, (*_parameters(which), limit))]

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one letter with its evidence and message; None when there is none of this id."""
        with self._lock, self._store.database.read() as connection:
            row = connection.execute(_SHOW, (letter_id,)).fetchone()
        return row and DeadMessage(_letter(row[:_LETTER_FIELDS]), *row[_LETTER_FIELDS:])

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of letters, the oldest first."""
        with self._lock, self._store.database.read() as connection:
            return [row[0] for row in connection.execute(_IDS, _parameters(which))]

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send letters to their queues again; return how many."""
        chosen = (msgspec.json.encode(ids).decode(),)
        with self._lock:
            store = self._store
            with store.database.write() as connection:
                letters = connection.execute(_ANEW, chosen).fetchall()
                queues = {name: ensure_queue(connection, name) for name in {row[1] for row in letters}}
                ready = [(queues[queue], rank, number) for number, queue, rank, _ in letters]
                connection.executemany(_TO_READY, ready)
                connection.executemany(_WITH_HEADERS, _never_tried(letters))
                connection.execute(_GONE, chosen)
            store.wake(set(queues.values()))
        return len(letters)

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these letters; return how many there were."""
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


def _parameters(which: DeadFilter) -> tuple[str | float | None, ...]:
    ids = None if which.ids is None else msgspec.json.encode(which.ids).decode()
    return which.task, which.queue, which.since_at, ids, which.kind and which.kind.value


def _letter(row: Sequence[Any]) -> DeadLetter:
    letter_id, queue, task, task_id, reason, died_at, deaths, kind = row
    return DeadLetter(letter_id, queue, task, task_id, reason, died_at, deaths, LetterKind(kind))


def _never_tried(letters: Sequence[Any]) -> Iterator[tuple[bytes, int]]:
    """Yield the new headers of failed letters that were retried, with their ids."""
    for number, _, _, headers in letters:
        if headers is not None and (anew := never_tried(headers)) is not headers:
            yield anew, number
