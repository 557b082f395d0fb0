"""Queues, exchanges and bindings inside an open transaction; nothing here commits or wakes.

Where a message goes by them stands in ``posting``.
"""

from __future__ import annotations

from taskd.base.errors import BrokerError
from taskd.brokers.base import ExchangeType
from taskd.brokers.timing import Timing
from taskd.storage.sqlite.database import Connection
from taskd.storage.sqlite.wake import WakeSender


def queue_id(connection: Connection, name: str) -> int | None:
    """Return the id of a queue, None when there is none of this name."""
    row = connection.execute("SELECT id FROM queue WHERE name=?", (name,)).fetchone()
    return None if row is None else int(row[0])


def ensure_queue(connection: Connection, name: str) -> int:
    """Return the id of a queue, made durable when missing."""
    known = queue_id(connection, name)
    if known is not None:
        return known
    return int(connection.execute("INSERT INTO queue(name) VALUES(?) RETURNING id", (name,)).fetchone()[0])


def declare_mailbox(
    connection: Connection,
    name: str,
    expires_s: float,
    listener: str,
    timing: Timing,
    *,
    auto_delete: bool,
    take_over: bool,
) -> int:
    """Return the id of a queue that vanishes ``expires_s`` after its listener died; made if missing.

    ``take_over`` off leaves the listener of one that exists, as when a producer declares it too.
    """
    row = connection.execute(
        "INSERT INTO queue(name, auto_delete, expires_s, expires_until, boot_id, listener)"
        " VALUES(?,?,?,?,?,?) ON CONFLICT(name) DO UPDATE SET expires_until=excluded.expires_until,"
        " boot_id=excluded.boot_id RETURNING id",
        (name, auto_delete, expires_s, timing.monotonic() + expires_s, timing.boot(), listener),
    ).fetchone()
    queue = int(row[0])
    if take_over:
        connection.execute(
            "UPDATE queue SET auto_delete=?, expires_s=?, listener=? WHERE id=?",
            (auto_delete, expires_s, listener, queue),
        )
    return queue


def delete_queue(connection: Connection, queue: int) -> int:
    """Delete a queue with its bindings and messages, the claimed too; return how many messages.

    Dead letters stay: they name their queue, and it is made again when they are requeued.
    """
    deleted = 0
    for table in ("ready", "delayed", "claimed"):
        deleted += connection.execute(
            f"DELETE FROM message WHERE id IN (SELECT id FROM {table} WHERE queue=?)",  # noqa: S608
            (queue,),
        ).rowcount
        connection.execute(f"DELETE FROM {table} WHERE queue=?", (queue,))  # noqa: S608
    connection.execute("DELETE FROM binding WHERE queue=?", (queue,))
    connection.execute("DELETE FROM queue WHERE id=?", (queue,))
    return deleted


def purge_queue(connection: Connection, queue: int) -> int:
    """Delete the ready and delayed messages of a queue; return how many."""
    deleted = 0
    for table in ("ready", "delayed"):
        connection.execute(
            f"DELETE FROM message WHERE id IN (SELECT id FROM {table} WHERE queue=?)",  # noqa: S608
            (queue,),
        )
        deleted += connection.execute(f"DELETE FROM {table} WHERE queue=?", (queue,)).rowcount  # noqa: S608
    return deleted


def declare_exchange(connection: Connection, name: str, kind: ExchangeType) -> None:
    """Make an exchange.

    Raises: ``BrokerError`` when it exists with another type.
    """
    connection.execute("INSERT OR IGNORE INTO exchange(name, type) VALUES(?,?)", (name, kind))
    former = connection.execute("SELECT type FROM exchange WHERE name=?", (name,)).fetchone()[0]
    if former != kind:
        raise BrokerError(
            f'exchange "{name}" exists with type {former}, not {kind}; '
            "use another name, or delete it from the broker file"
        )


def bind(connection: Connection, exchange: str, routing_key: str, queue: int) -> None:
    """Bind a queue; a second time does nothing."""
    connection.execute(
        "INSERT OR IGNORE INTO binding(exchange, routing_key, queue) VALUES(?,?,?)",
        (exchange, routing_key, queue),
    )


def expired_queues(connection: Connection, timing: Timing) -> list[tuple[int, float, str]]:
    """Return id, ``expires_s`` and listener of the queues whose time is over.  One cheap read."""
    rows = connection.execute(
        "SELECT id, expires_s, listener FROM queue"
        " WHERE expires_s IS NOT NULL AND (expires_until < ? OR boot_id <> ?)",
        (timing.monotonic(), timing.boot()),
    )
    return [(int(row[0]), float(row[1]), str(row[2])) for row in rows]


def sweep(
    connection: Connection, expired: list[tuple[int, float, str]], timing: Timing, sender: WakeSender
) -> None:
    """Delete expired queues whose listener is dead; give the others another term."""
    for queue, expires_s, listener in expired:
        if sender.is_alive(listener):
            connection.execute(
                "UPDATE queue SET expires_until=?, boot_id=? WHERE id=?",
                (timing.monotonic() + expires_s, timing.boot(), queue),
            )
        else:
            delete_queue(connection, queue)
