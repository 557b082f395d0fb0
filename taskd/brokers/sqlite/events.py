"""Events through the embedded broker: written only when somebody listens, and never without bound."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from taskd.base.errors import StorageError
from taskd.brokers.sqlite.posting import post
from taskd.brokers.sqlite.queues import expired_queues, sweep
from taskd.brokers.sqlite.store import BrokerFile
from taskd.brokers.topology import EVENT_EXCHANGE, MAX_WAITING_EVENTS
from taskd.protocol.delivery import Outgoing
from taskd.storage.sqlite.database import Connection

logger = logging.getLogger(__name__)

#: How often a sender looks for listeners that are too slow, or dead.
_PRUNE_EVERY_S = 1.0


class SqliteEventSender:
    """``EventSender`` over one file.  Without a listener a look costs one read, and nothing is written."""

    def __init__(self, open_store: Callable[[], BrokerFile]) -> None:
        self._open_store = open_store
        self._store: BrokerFile | None = None
        self._prune_from = 0.0
        self.closed = False

    def listened(self) -> bool:
        """Return whether a queue is bound to the exchange of events."""
        with self._opened().database.read() as connection:
            (bound,) = connection.execute(
                "SELECT EXISTS(SELECT 1 FROM binding WHERE exchange=?)", (EVENT_EXCHANGE,)
            ).fetchone()
        return bool(bound)

    def send(self, events: Sequence[Outgoing]) -> None:
        """Write the events into the queues of the listeners."""
        store = self._opened()
        now = store.timing.monotonic()
        is_time = now >= self._prune_from
        expired = []
        if is_time:
            self._prune_from = now + _PRUNE_EVERY_S
            with store.database.read() as connection:
                expired = expired_queues(connection, store.timing)
        with store.database.write() as connection:
            if expired:
                sweep(connection, expired, store.timing, store.sender)
            woken = post(connection, events, store.timing.now())
            dropped = _prune(connection) if is_time else 0
        store.wake(woken)
        if dropped:
            logger.warning("event_messages_dropped=%d: a listener is too slow", dropped)

    def _opened(self) -> BrokerFile:
        if self.closed:
            raise StorageError("this event sender is closed; ask the broker for a new one")
        if self._store is not None and not self._store.database.is_in_place():
            self._store.close()
            self._store = None  # somebody replaced the file: the listeners are at the new one
        if self._store is None:
            self._store = self._open_store()
        return self._store

    def close(self) -> None:
        """Release the file.  May be called twice."""
        self.closed = True
        if self._store is not None:
            self._store.close()
            self._store = None


def _prune(connection: Connection) -> int:
    """Drop what is too much for each listener, the oldest first; return how many messages."""
    dropped = 0
    listeners = connection.execute(
        "SELECT DISTINCT queue FROM binding WHERE exchange=?", (EVENT_EXCHANGE,)
    ).fetchall()
    for (queue,) in listeners:
        row = connection.execute(
            "SELECT id FROM ready WHERE queue=? ORDER BY rank DESC, id DESC LIMIT 1 OFFSET ?",
            (queue, MAX_WAITING_EVENTS),
        ).fetchone()
        if row is None:
            continue
        connection.execute(
            "DELETE FROM message WHERE id IN (SELECT id FROM ready WHERE queue=?1 AND id<=?2)",
            (queue, row[0]),
        )
        dropped += connection.execute("DELETE FROM ready WHERE queue=? AND id<=?", (queue, row[0])).rowcount
    return dropped
