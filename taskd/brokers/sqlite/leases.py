"""Owners and their leases inside an open transaction: one row per generation, all claims under it."""

from __future__ import annotations

from taskd.brokers.timing import Timing
from taskd.storage.sqlite.database import Connection


def open_owner(connection: Connection, name: str, lease_s: float, timing: Timing) -> tuple[int, set[int]]:
    """Start a generation of ``name``; return its id, and the queues that got claims of the former back."""
    woken: set[int] = set()
    row = connection.execute("SELECT id FROM owner WHERE name=?", (name,)).fetchone()
    if row is not None:
        woken = end_owner(connection, int(row[0]))
    row = connection.execute(
        "INSERT INTO owner(name, boot_id, lease_until) VALUES(?,?,?) RETURNING id",
        (name, timing.boot(), timing.monotonic() + lease_s),
    ).fetchone()
    return int(row[0]), woken


def end_owner(connection: Connection, owner: int, *, unstarted: bool = False) -> set[int]:
    """Delete an owner and return its claims to their queues; return these queues.

    ``unstarted`` takes the delivery back from the count.
    """
    queues = {
        int(row[0])
        for row in connection.execute("SELECT DISTINCT queue FROM claimed WHERE owner=?", (owner,))
    }
    connection.execute(
        "INSERT INTO ready(queue, rank, id, deliveries, deaths)"
        " SELECT queue, rank, id, deliveries - ?, deaths FROM claimed WHERE owner=?",
        (int(unstarted), owner),
    )
    connection.execute("DELETE FROM claimed WHERE owner=?", (owner,))
    connection.execute("DELETE FROM owner WHERE id=?", (owner,))
    return queues


def exists(connection: Connection, owner: int) -> bool:
    """Return whether a generation still holds its lease."""
    return connection.execute("SELECT 1 FROM owner WHERE id=?", (owner,)).fetchone() is not None


def renew(connection: Connection, owner: int, lease_s: float, timing: Timing) -> bool:
    """Extend a lease; return False when the owner is gone."""
    cursor = connection.execute(
        "UPDATE owner SET lease_until=?, boot_id=? WHERE id=?",
        (timing.monotonic() + lease_s, timing.boot(), owner),
    )
    return cursor.rowcount == 1


def end_expired(connection: Connection, timing: Timing, but: int) -> set[int]:
    """End the owners whose lease ran out, except ``but``; return the queues that got claims back."""
    expired = connection.execute(
        "SELECT id FROM owner WHERE id <> ? AND (lease_until < ? OR boot_id <> ?)",
        (but, timing.monotonic(), timing.boot()),
    ).fetchall()
    woken: set[int] = set()
    for row in expired:
        woken |= end_owner(connection, int(row[0]))
    return woken
