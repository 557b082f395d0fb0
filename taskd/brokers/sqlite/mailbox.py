"""An exclusive queue that vanishes with its process, for remote control and its replies."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from taskd.base.errors import StorageError
from taskd.brokers.base import ExchangeType
from taskd.brokers.sqlite.claiming import ClaimSql, deliveries
from taskd.brokers.sqlite.queues import (
    bind,
    declare_exchange,
    declare_mailbox,
    delete_queue,
    expired_queues,
    purge_queue,
    queue_id,
    sweep,
)
from taskd.brokers.sqlite.store import BrokerFile
from taskd.protocol.delivery import Delivery
from taskd.storage.sqlite.database import Connection
from taskd.storage.sqlite.wake import WakeListener, new_listener_id

logger = logging.getLogger(__name__)

#: How long the queue of a dead process stays.  A living one keeps it by its open socket.
EXPIRES_S = 120.0
_RECEIVE_AT_ONCE = 1000


class SqliteMailbox:
    """``Mailbox`` over one file.  If its queue was deleted meanwhile, ``receive`` makes it again."""

    def __init__(
        self, store: BrokerFile, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str
    ) -> None:
        """Take ``store`` over; it is closed with the mailbox."""
        self._store = store
        self._queue = queue
        self._binding = (exchange, exchange_type, routing_key)
        self.closed = False
        self._listener_id = new_listener_id()
        with store.database.read() as connection:
            expired = expired_queues(connection, store.timing)
        with store.database.write() as connection:
            if expired:
                sweep(connection, expired, store.timing, store.sender)
            former = queue_id(connection, queue)
            if former is not None:
                purge_queue(connection, former)
            number = self._declare(connection)
        self._use(number)
        self._listener = WakeListener(store.path, (number,), listener_id=self._listener_id)
        # Messages that were sent before the listener stood there.
        store.wake({number})

    def _declare(self, connection: Connection) -> int:
        exchange, kind, routing_key = self._binding
        number = declare_mailbox(
            connection,
            self._queue,
            EXPIRES_S,
            self._listener_id,
            self._store.timing,
            auto_delete=True,
            take_over=True,
        )
        if exchange:
            declare_exchange(connection, exchange, kind)
            bind(connection, exchange, routing_key, number)
        return number

    def _use(self, number: int) -> None:
        self._number = number
        self._sql = ClaimSql.of((number,))

    def receive(self) -> Sequence[Delivery]:
        """Return everything that has arrived, and delete it."""
        self._listener.clear()
        database = self._store.database
        with database.read() as connection:
            there, work = connection.execute(
                "SELECT EXISTS(SELECT 1 FROM queue WHERE id=?1), EXISTS(SELECT 1 FROM ready WHERE queue=?1)",
                (self._number,),
            ).fetchone()
        if not there:
            self._make_again()
            return ()
        if not work:
            return ()
        with database.write() as connection:
            received = deliveries(connection.execute(self._sql.heads, (_RECEIVE_AT_ONCE,)).fetchall())
            connection.executemany(
                "DELETE FROM ready WHERE queue=? AND rank=? AND id=?",
                [(self._number, -delivery.priority, delivery.tag) for delivery in received],
            )
            connection.executemany(
                "DELETE FROM message WHERE id=?", [(delivery.tag,) for delivery in received]
            )
        if len(received) == _RECEIVE_AT_ONCE:
            self._store.wake({self._number})  # there may be more
        return received

    def _make_again(self) -> None:
        logger.warning("mailbox had been deleted and is made again queue=%s", self._queue)
        with self._store.database.write() as connection:
            number = self._declare(connection)
        self._use(number)
        self._listener.listen_to((number,))

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._listener.fileno()

    def close(self) -> None:
        """Delete the queue and close the file."""
        if self.closed:
            return
        self.closed = True
        self._listener.close()
        try:
            with self._store.database.write() as connection:
                delete_queue(connection, self._number)
        except StorageError as error:
            logger.warning("mailbox stays until it expires queue=%s error=%s", self._queue, error)
        finally:
            self._store.close()
