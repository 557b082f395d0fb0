"""The statements of a claim, built once for a set of queues.

A batch is always the head of each queue's ready tree up to one common (rank, id).  So moving it takes one
range insert and one range delete, however many messages it has.
"""

# ruff: noqa: S608 - the only texts put into these statements are integers of our own
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from taskd.base.errors import BrokerError
from taskd.brokers.timing import Timing
from taskd.protocol.delivery import Delivery
from taskd.storage.sqlite.database import Connection

# SQLite refuses more branches of a compound select (SQLITE_MAX_COMPOUND_SELECT).
MAX_QUEUES = 500
# A backlog of delayed messages is promoted piece by piece, so that no claim takes seconds.
_PROMOTE_AT_ONCE = 1000
_PROMOTE = "INSERT INTO ready(queue, rank, id, deliveries, deaths) VALUES(?,?,?,?,?)"
# The depth is asked each second by the loop of a busy worker: counting a million rows would stall it.
_COUNT_AT_MOST = 100_000

# In the order of Delivery's fields.
_DELIVERY = (
    "m.id, q.name, m.task_id, m.headers, m.body, m.content_type, m.content_encoding, -s.rank,"
    " s.deliveries, s.deaths, m.reply_to, m.correlation_id, m.exchange, m.routing_key,"
    " m.properties"
)

# CROSS JOIN keeps SQLite from reordering: the rows stay in the order of the merged heads.
_JOINED = "s CROSS JOIN message m ON m.id=s.id CROSS JOIN queue q ON q.id=s.queue"


def deliveries(rows: Sequence[Sequence[object]]) -> list[Delivery]:
    """Return rows in the order of ``Delivery``'s fields as deliveries."""
    return [Delivery(*row) for row in rows]  # type: ignore[arg-type]  # columns are NOT NULL of these types


class Peek(NamedTuple):
    """The sources of a claim, each 0 or 1."""

    #: The claimer's own lease stands.
    own: int
    ready: int
    #: Another generation's lease ran out.
    expired: int
    #: A delayed message has become due.
    due: int

    @property
    def work(self) -> bool:
        """Whether a claim may find something."""
        return bool(self.ready or self.expired or self.due)


@dataclass(frozen=True, slots=True)
class ClaimSql:
    """Statements for a set of queues; ids stand in the text, they are integers of our own."""

    #: Parameters: owner, monotonic, boot, wall clock; one row of ``Peek``'s fields.
    peek: str
    heads: str
    take: str
    drop: str
    next_due: str
    due: str
    scheduled: str
    depth: str

    @classmethod
    def of(cls, queues: Sequence[int]) -> ClaimSql:
        """Raises: ``BrokerError`` for more queues than SQLite can merge."""
        if len(queues) > MAX_QUEUES:
            raise BrokerError(
                f"one worker can consume from {MAX_QUEUES} queues, not {len(queues)}; use several workers"
            )
        some = f"({','.join(map(str, queues))})"
        ready = _merge("SELECT rank, id, deliveries + 1 AS deliveries, deaths, queue FROM ready", queues)
        delayed = _merge(
            "SELECT due_at, id, queue, rank, deliveries + 1 AS deliveries, deaths FROM delayed", queues
        )
        return cls(
            peek=(
                "SELECT EXISTS(SELECT 1 FROM owner WHERE id=?1),"
                f" EXISTS(SELECT 1 FROM ready WHERE queue IN {some}),"
                " EXISTS(SELECT 1 FROM owner WHERE id<>?1 AND (lease_until<?2 OR boot_id<>?3)),"
                f" EXISTS(SELECT 1 FROM delayed WHERE queue IN {some} AND due_at<=?4)"
            ),
            heads=f"SELECT {_DELIVERY} FROM ({ready}) {_JOINED}",
            take=(
                "INSERT INTO claimed(id, owner, queue, rank, deliveries, deaths)"
                " SELECT id, ?, queue, rank, deliveries + 1, deaths FROM ready"
                f" WHERE queue IN {some} AND (rank, id) <= (?, ?)"
            ),
            drop=f"DELETE FROM ready WHERE queue IN {some} AND (rank, id) <= (?, ?)",
            next_due=f"SELECT min(due_at) FROM ({delayed})".replace("LIMIT ?", "LIMIT 1"),
            due=(
                "SELECT queue, rank, id, deliveries - 1, deaths, due_at FROM"
                f" ({delayed}) WHERE due_at <= ?".replace("LIMIT ?", f"LIMIT {_PROMOTE_AT_ONCE}")
            ),
            scheduled=(f"SELECT s.due_at, {_DELIVERY} FROM ({delayed}) {_JOINED}"),
            depth=(
                f"SELECT count(*) FROM (SELECT 1 FROM ready WHERE queue IN {some} UNION ALL"
                f" SELECT 1 FROM delayed WHERE queue IN {some} AND due_at <= ? LIMIT {_COUNT_AT_MOST})"
            ),
        )


def _merge(select: str, queues: Sequence[int]) -> str:
    """Merge the ordered heads of several queues; SQLite runs the branches as coroutines."""
    if not queues:
        return f"{select} WHERE 0 LIMIT ?"
    return " UNION ALL ".join(f"{select} WHERE queue={queue}" for queue in queues) + " ORDER BY 1, 2 LIMIT ?"


def peek(connection: Connection, sql: ClaimSql, owner: int, timing: Timing) -> Peek:
    """Look what there is; outside a transaction too."""
    parameters = (owner, timing.monotonic(), timing.boot(), timing.now())
    return Peek(*connection.execute(sql.peek, parameters).fetchone())


def promote(connection: Connection, sql: ClaimSql, timing: Timing) -> None:
    """Move messages that have become due from ``delayed`` to ``ready``."""
    rows = connection.execute(sql.due, (timing.now(),)).fetchall()
    if not rows:
        return
    connection.executemany(_PROMOTE, [row[:5] for row in rows])
    connection.executemany(
        "DELETE FROM delayed WHERE queue=? AND due_at=? AND id=?", [(row[0], row[5], row[2]) for row in rows]
    )


def take(connection: Connection, sql: ClaimSql, owner: int, limit: int) -> list[Delivery]:
    """Claim up to ``limit`` ready messages for ``owner``."""
    claimed = deliveries(connection.execute(sql.heads, (limit,)).fetchall())
    if claimed:
        last = claimed[-1]
        end = (-last.priority, last.tag)
        moved = connection.execute(sql.take, (owner, *end)).rowcount
        # The range is right only if the heads came in order; a transaction that disagrees must not commit.
        assert moved == len(claimed), (moved, len(claimed))
        connection.execute(sql.drop, end)
    return claimed
