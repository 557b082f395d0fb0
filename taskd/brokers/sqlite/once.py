"""Sending once on the embedded broker: the ids stand in a table beside the messages, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import msgspec

from taskd.base.errors import StorageError, TooLateError
from taskd.brokers.sqlite.posting import post
from taskd.brokers.sqlite.store import BrokerFile
from taskd.protocol.delivery import Outgoing

_KNOWN = "SELECT task_id FROM once WHERE task_id IN (SELECT value FROM json_each(?))"
_NEXT = "SELECT next FROM sequence"
_REMEMBER = "INSERT INTO once(task_id, message, sent_at) VALUES(?,?,?)"
_ACTIVE = (
    "SELECT o.task_id FROM once o JOIN message m ON m.id=o.message LEFT JOIN dead d ON d.id=m.id"
    " WHERE d.id IS NULL AND o.task_id IN (SELECT value FROM json_each(?))"
)
# A message that still waits keeps its id known, so that ``active`` stays true.
_FORGET = (
    "DELETE FROM once WHERE task_id IN (SELECT o.task_id FROM once o LEFT JOIN message m ON m.id=o.message"
    " WHERE o.sent_at < ? AND m.id IS NULL ORDER BY o.sent_at LIMIT ?)"
)
_FORGET_AT_ONCE = 1000

_encode_json = msgspec.json.Encoder().encode


class SqliteOnce:
    """``OncePublisher`` over one file."""

    def __init__(self, open_store: Callable[[], BrokerFile]) -> None:
        """Open the file, so that a broker that cannot be used is known now.  Raises: ``StorageError``."""
        self._open_store = open_store
        self._store: BrokerFile | None = open_store()
        self.closed = False

    def _opened(self) -> BrokerFile:
        if self.closed:
            raise StorageError("this publisher is closed; ask the broker for a new one")
        if self._store is not None and not self._store.database.is_in_place():
            self._store.close()
            self._store = None  # somebody replaced the file: the message belongs into the new one
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def publish_once(self, messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
        """Write the messages whose ids are new, in one transaction; return the ids that were refused."""
        store = self._opened()
        ids = [message.task_id for message in messages]
        with store.database.write() as connection:
            # Inside: whoever is stopped from here on keeps the others from writing until it goes on.
            if store.timing.monotonic() >= until:
                raise TooLateError
            known = {row[0] for row in connection.execute(_KNOWN, (_encode_json(ids).decode(),))}
            fresh = {each.task_id: each for each in messages if each.task_id not in known}
            number = int(connection.execute(_NEXT).fetchone()[0])
            now = store.timing.now()
            woken = post(connection, tuple(fresh.values()), now)
            rows = [(task_id, number + offset, now) for offset, task_id in enumerate(fresh)]
            connection.executemany(_REMEMBER, rows)
        store.wake(woken)
        return known

    def active(self, task_ids: Collection[str]) -> Collection[str]:
        """Return those of the ids whose message is in a queue or claimed."""
        with self._opened().database.read() as connection:
            found = connection.execute(_ACTIVE, (_encode_json(list(task_ids)).decode(),))
            return frozenset(row[0] for row in found)

    def forget(self, older_than_s: float) -> None:
        """Forget ids in short transactions."""
        store = self._opened()
        deleted = _FORGET_AT_ONCE
        while deleted == _FORGET_AT_ONCE:
            with store.database.write() as connection:
                before_at = store.timing.now() - older_than_s
                deleted = connection.execute(_FORGET, (before_at, _FORGET_AT_ONCE)).rowcount

    def close(self) -> None:
        """Release the file.  May be called twice."""
        self.closed = True
        if self._store is not None:
            self._store.close()
            self._store = None
