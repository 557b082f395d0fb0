"""Letters inside an open transaction: written, counted, and taken away beyond their bounds.

Triggers keep the totals of failed letters.  So they stay right when a process of the former release deletes
such a letter as a dead one.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.base.safe_text import storable
from taskd.brokers.dead import size_of, task_name
from taskd.brokers.failures import Kept, excess
from taskd.config.stores import FailuresConfig
from taskd.protocol.delivery import Dead, LetterKind, UnclaimedFailure
from taskd.storage.sqlite.database import Connection, Database

logger = logging.getLogger(__name__)

_CLAIMED = (
    "SELECT m.headers, length(m.body) FROM message m JOIN claimed c ON c.id=m.id WHERE c.id=? AND c.owner=?"
)
_BURY = (
    "INSERT INTO dead(id, queue, rank, deaths, died_at, task, reason, evidence, kind, size)"
    " SELECT c.id, q.name, c.rank, c.deaths + ?, ?, ?, ?, ?, ?, ? FROM claimed c"
    " JOIN queue q ON q.id=c.queue WHERE c.id=? AND c.owner=?"
)
_MESSAGE = (
    "INSERT INTO message(id, task_id, headers, body, content_type, content_encoding, reply_to,"
    " correlation_id, exchange, routing_key, properties) VALUES(?,?,?,?,?,?,?,?,?,?,?)"
)
_KEEP = (
    "INSERT INTO dead(id, queue, rank, deaths, died_at, task, reason, evidence, kind, size)"
    " VALUES(?,?,?,?,?,?,?,?,?,?)"
)
_TAKE_IDS = "UPDATE sequence SET next=next+? RETURNING next-?"
_TOTALS = "SELECT letters, bytes FROM failed_total"
#: The index of failed letters answers it alone.
_OLDEST = "SELECT id, died_at, size FROM dead WHERE kind='failed' ORDER BY died_at, id LIMIT ?"

#: Letters that go in one transaction of a turn, and the time after which it ends; others wait meanwhile.
_STEP = 100
_STEP_S = 0.004
_TURN_STEPS = 4


def bury(connection: Connection, owner: int, dead: Dead, now: float) -> int:
    """Make a letter of a claimed message; return 0 when the claim is not the owner's."""
    row = connection.execute(_CLAIMED, (dead.tag, owner)).fetchone()
    if row is None:
        return 0
    headers, body_bytes = row
    size = size_of(headers, b"", dead.evidence) + int(body_bytes)
    facts = (int(dead.died), now, task_name(headers), storable(dead.reason), dead.evidence)
    return connection.execute(_BURY, (*facts, dead.kind.value, size, dead.tag, owner)).rowcount


def keep(connection: Connection, failures: Sequence[UnclaimedFailure], now: float) -> None:
    """Write letters of messages that nobody has claimed."""
    count = len(failures)
    number = int(connection.execute(_TAKE_IDS, (count, count)).fetchone()[0])
    for failure in failures:
        each = failure.delivery
        address = (each.reply_to, each.correlation_id, each.exchange, each.routing_key, each.properties)
        message = (each.task_id, each.headers, each.body, each.content_type, each.content_encoding)
        connection.execute(_MESSAGE, (number, *message, *address))
        facts = (now, task_name(each.headers), storable(failure.reason), failure.evidence)
        size = size_of(each.headers, each.body, failure.evidence)
        rank = -min(max(each.priority, 0), 9)
        kind = LetterKind.FAILED.value
        connection.execute(_KEEP, (number, each.queue, rank, each.deaths, *facts, kind, size))
        number += 1


def prune(
    connection: Connection, bounds: FailuresConfig, now: float, most: int, until: float | None = None
) -> int:
    """Delete failed letters beyond the bounds, the oldest first; return how many.

    Ends after ``most`` of them, or at the monotonic time ``until``.
    """
    gone = 0
    for number in _beyond(connection, bounds, now, most):
        if until is not None and clock.monotonic() >= until:
            break
        connection.execute("DELETE FROM message WHERE id=?", (number,))
        connection.execute("DELETE FROM dead WHERE id=?", (number,))
        gone += 1
    return gone


def _beyond(connection: Connection, bounds: FailuresConfig, now: float, most: int) -> list[int]:
    letters, size = connection.execute(_TOTALS).fetchone()
    if not letters:
        return []
    oldest = (Kept(*row) for row in connection.execute(_OLDEST, (most,)).fetchall())
    return excess(letters, size, oldest, bounds, now)


def turn(database: Database, bounds: FailuresConfig, now: float) -> None:
    """Take letters beyond the bounds away in short transactions; looks without a lock first.

    Where that fails, the next turn tries again: a full disk has no room for it in the log.
    """
    try:
        for _ in range(_TURN_STEPS):
            with database.read() as connection:
                beyond = _beyond(connection, bounds, now, 1)
            if not beyond:
                return
            with database.write() as connection:
                prune(connection, bounds, now, _STEP, clock.monotonic() + _STEP_S)
    except StorageError as error:
        logger.info("letters of failed tasks beyond their bounds stay for now: %s", error)
