"""The broker file as a kombu connection sees it.  Knows nothing of kombu itself.

One link is shared by all channels and threads of a connection, under one lock.  A kombu consumer
may work on a message for hours without touching its connection, so a thread renews the lease
while there are claims.  A client without unacknowledged messages (a publisher, a ``no_ack``
consumer) has neither owner nor thread.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

from taskd.base.errors import StorageError
from taskd.base.wakeup import Readable
from taskd.brokers.sqlite import leases, queues, settling
from taskd.brokers.sqlite.claiming import ClaimSql, deliveries, peek, promote, take
from taskd.brokers.sqlite.posting import post
from taskd.brokers.sqlite.store import BrokerFile
from taskd.protocol.delivery import Delivery, Outgoing, Settlement
from taskd.storage.sqlite.database import Connection
from taskd.storage.sqlite.wake import WakeListener, new_listener_id

logger = logging.getLogger(__name__)

T = TypeVar("T")

LEASE_S = 30.0
#: How often a consumer looks by itself: wake-ups are hints.
_LOOK_S = 1.0


class ClientLink:
    """Safe to share between threads; not between processes."""

    def __init__(self, open_store: Callable[[], BrokerFile]) -> None:
        self._store = open_store()
        self._lock = threading.RLock()
        self.id = new_listener_id()
        self._owner_name = f"kombu-{self.id}"
        self._owner: int | None = None
        self._listener: WakeListener | None = None
        self._statements: dict[int, ClaimSql] = {}
        self._closed = threading.Event()
        self._renewer: threading.Thread | None = None

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one write transaction."""
        with self._lock, self._store.database.write() as connection:
            return work(connection)

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run ``work``, which only reads, without a transaction."""
        with self._lock, self._store.database.read() as connection:
            return work(connection)

    def post(self, message: Outgoing) -> None:
        """Publish one message, and wake whoever waits for it."""
        now = self._store.timing.now()
        with self._lock:
            self._store.wake(self.write(lambda connection: post(connection, (message,), now)))

    # -- queues that vanish --------------------------------------------------------------------

    def declare_expiring(self, name: str, expires_s: float, *, auto_delete: bool) -> None:
        """Make a queue that vanishes ``expires_s`` after its last user died."""
        store = self._store
        with self._lock:
            self._listen()
            expired = self.read(lambda connection: queues.expired_queues(connection, store.timing))
            with store.database.write() as connection:
                queues.sweep(connection, expired, store.timing, store.sender)
                queues.declare_mailbox(
                    connection,
                    name,
                    expires_s,
                    self.id,
                    store.timing,
                    auto_delete=auto_delete,
                    take_over=False,
                )

    def use(self, name: str) -> None:
        """Note that this link consumes from a queue: it lives as long as the link does."""
        self.write(
            lambda connection: connection.execute(
                "UPDATE queue SET listener=? WHERE name=? AND expires_s IS NOT NULL", (self.id, name)
            )
        )

    def leave(self, name: str) -> None:
        """Delete an auto-delete queue of this link whose last consumer is gone."""

        def delete(connection: Connection) -> None:
            row = connection.execute(
                "SELECT id FROM queue WHERE name=? AND auto_delete AND listener=?", (name, self.id)
            ).fetchone()
            if row is not None:
                queues.delete_queue(connection, int(row[0]))

        self.write(delete)

    # -- consuming -------------------------------------------------------------------------------

    def get(self, queue: str, *, no_ack: bool) -> tuple[Delivery, bytes | None] | None:
        """Take the next message of a queue with its further properties, claimed unless ``no_ack``."""
        store = self._store
        timing = store.timing
        woken: set[int] = set()
        with self._lock:
            number = self.read(lambda connection: queues.queue_id(connection, queue))
            if number is None:
                return None
            sql = self._statements.get(number)
            if sql is None:
                sql = self._statements[number] = ClaimSql.of((number,))
            with store.database.read() as connection:
                if not peek(connection, sql, self._owner or 0, timing).work:
                    return None
            with store.database.write() as connection:
                woken = leases.end_expired(connection, timing, but=self._owner or 0)
                promote(connection, sql, timing)
                taken = (
                    _receive(connection, sql) if no_ack else take(connection, sql, self._own(connection), 1)
                )
                properties = _properties(connection, taken[0].tag, delete=no_ack) if taken else None
            store.wake(woken)
            if not taken:
                return None
            if not no_ack:
                self._keep_lease()
            return taken[0], properties

    def _own(self, connection: Connection) -> int:
        """Return the owner of this link's claims; a lost one is replaced, its claims are void."""
        if self._owner is None or not leases.exists(connection, self._owner):
            self._owner, _ = leases.open_owner(connection, self._owner_name, LEASE_S, self._store.timing)
        return self._owner

    def settle(self, outcome: Settlement) -> None:
        """Carry out one outcome; a refused one is logged, for kombu has no way to say it."""
        store = self._store
        with self._lock:
            settled = self.write(
                lambda connection: settling.settle(
                    connection, self._owner or 0, (outcome,), store.timing.now()
                )
            )
            store.wake(settled.woken)
        if settled.refused:
            logger.warning(
                "settlement refused: the lease had run out and the message went to another consumer tag=%d",
                outcome.tag,
            )

    def wait(self, timeout_s: float | None) -> None:
        """Block until something may have come, at most ``timeout_s`` or one second."""
        with self._lock:
            listener = self._listen()
        Readable(listener.fileno()).within(_LOOK_S if timeout_s is None else min(timeout_s, _LOOK_S))
        listener.clear()

    def _listen(self) -> WakeListener:
        if self._listener is None:
            self._listener = WakeListener(self._store.path, listener_id=self.id)
        return self._listener

    def listen_to(self, names: Sequence[str]) -> None:
        """Wake for these queues only."""

        def find(connection: Connection) -> list[int]:
            numbers = (queues.queue_id(connection, name) for name in names)
            return [number for number in numbers if number is not None]

        with self._lock:
            self._listen().listen_to(self.read(find))

    # -- the lease -------------------------------------------------------------------------------

    def _keep_lease(self) -> None:
        if self._renewer is None:
            self._renewer = threading.Thread(
                target=self._renew_for_ever, name="taskd-kombu-lease", daemon=True
            )
            self._renewer.start()

    def _renew_for_ever(self) -> None:
        while not self._closed.wait(LEASE_S / 3):
            try:
                with self._lock:
                    if self._owner is not None and not self._closed.is_set():
                        self.write(self._renew)
            except StorageError as error:
                logger.warning("lease of a kombu connection not renewed error=%s", error)

    def _renew(self, connection: Connection) -> bool:
        assert self._owner is not None
        return leases.renew(connection, self._owner, LEASE_S, self._store.timing)

    def close(self) -> None:
        """Return all claims, delete what only this link used, release the file.  May be called twice."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
            if self._listener is not None:
                self._listener.close()
            try:
                if self._owner is not None:
                    owner = self._owner
                    self._store.wake(self.write(lambda connection: leases.end_owner(connection, owner)))
            except StorageError as error:
                logger.warning(
                    "claims stay until the lease runs out owner=%s error=%s", self._owner_name, error
                )
            finally:
                self._store.close()
        if self._renewer is not None and self._renewer is not threading.current_thread():
            self._renewer.join()


def _receive(connection: Connection, sql: ClaimSql) -> list[Delivery]:
    """Take the head of a queue out of it for good; ``_properties`` deletes the message itself."""
    received = deliveries(connection.execute(sql.heads, (1,)).fetchall())
    if received:
        connection.execute(sql.drop, (-received[0].priority, received[0].tag))
    return received


def _properties(connection: Connection, tag: int, *, delete: bool) -> bytes | None:
    row = connection.execute("SELECT properties FROM message WHERE id=?", (tag,)).fetchone()
    if delete:
        connection.execute("DELETE FROM message WHERE id=?", (tag,))
    return None if row[0] is None else bytes(row[0])
