"""Write messages where they lead, inside an open transaction: for publishers, and for retries."""

from __future__ import annotations

from collections.abc import Sequence

from taskd.brokers.sqlite.queues import ensure_queue
from taskd.brokers.topology import exchange_type, matches
from taskd.protocol.delivery import Outgoing
from taskd.storage.sqlite.database import Connection

_INSERT_MESSAGE = (
    "INSERT INTO message(id, task_id, headers, body, content_type, content_encoding, reply_to,"
    " correlation_id, exchange, routing_key, properties) VALUES(?,?,?,?,?,?,?,?,?,?,?)"
)
_INSERT_READY = "INSERT INTO ready(queue, rank, id, deliveries, deaths) VALUES(?,?,?,0,0)"
_INSERT_DELAYED = "INSERT INTO delayed(queue, due_at, id, rank, deliveries, deaths) VALUES(?,?,?,?,0,0)"
_TAKE_IDS = "UPDATE sequence SET next=next+? RETURNING next-?"


def post(
    connection: Connection,
    messages: Sequence[Outgoing],
    now: float,
) -> set[int]:
    """Write messages to the queues they route to; return these queues, to be woken after the commit."""
    routes: dict[tuple[str, str], list[int]] = {}
    planned: list[tuple[int, Outgoing]] = []
    for message in messages:
        address = (message.exchange, message.routing_key)
        queues = routes.get(address)
        if queues is None:
            queues = routes[address] = _route(connection, *address)
        planned += [(queue, message) for queue in queues]
    if not planned:
        return set()
    count = len(planned)
    number = int(connection.execute(_TAKE_IDS, (count, count)).fetchone()[0])
    rows = []
    ready = []
    delayed = []
    for queue, message in planned:
        rows.append(
            (
                number,
                message.task_id,
                message.headers,
                message.body,
                message.content_type,
                message.content_encoding,
                message.reply_to,
                message.correlation_id,
                message.exchange,
                message.routing_key,
                message.properties,
            )
        )
        rank = -min(max(message.priority, 0), 9)
        if message.due_at is None or message.due_at <= now:
            ready.append((queue, rank, number))
        else:
            delayed.append((queue, message.due_at, number, rank))
        number += 1
    connection.executemany(_INSERT_MESSAGE, rows)
    if ready:
        connection.executemany(_INSERT_READY, ready)
    if delayed:
        connection.executemany(_INSERT_DELAYED, delayed)
    return {queue for queue, _ in planned}


def _route(connection: Connection, exchange: str, routing_key: str) -> list[int]:
    """Return the queues that a message goes to: none, one, or several.

    The default exchange makes the queue when it is missing.
    """
    if not exchange:
        return [ensure_queue(connection, routing_key)]
    row = connection.execute("SELECT type FROM exchange WHERE name=?", (exchange,)).fetchone()
    kind = exchange_type(row[0]) if row is not None else "direct"
    bindings = connection.execute("SELECT routing_key, queue FROM binding WHERE exchange=?", (exchange,))
    return sorted({queue for pattern, queue in bindings if matches(kind, pattern, routing_key)})
