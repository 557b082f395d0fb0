"""The tables of beat's store in SQLite.

``change`` numbers what operators do, so that a beat asks only for what is new; a removed entry stays as a
row without a text.  ``history`` keeps the latest decisions of each entry.  A place in a ring of ``slot``s is
written again, and ``id`` grows, so that the latest of all entries are found at its end.
"""

from __future__ import annotations

from taskd.storage.sqlite.schema import Schema, SqlStep

_TABLES = (
    "CREATE TABLE change(revision INTEGER NOT NULL)",
    "INSERT INTO change(revision) VALUES(1)",
    """CREATE TABLE entry(
        name TEXT PRIMARY KEY, revision INTEGER NOT NULL, text BLOB,
        changed_at REAL NOT NULL, changed_by TEXT NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX entry_revision ON entry(revision)",
    """CREATE TABLE pause(
        name TEXT PRIMARY KEY, revision INTEGER NOT NULL,
        since_at REAL NOT NULL, until_at REAL, changed_by TEXT NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE request(
        number INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL,
        requested_at REAL NOT NULL, requested_by TEXT NOT NULL
    )""",
    # The declarations of the app's code, as one JSON text.
    "CREATE TABLE declared(text BLOB NOT NULL)",
    # One row; lease_until is CLOCK_MONOTONIC of the boot beside it.
    """CREATE TABLE lease(
        term INTEGER NOT NULL, holder TEXT NOT NULL, lease_until REAL NOT NULL, boot_id TEXT NOT NULL
    )""",
    "INSERT INTO lease(term, holder, lease_until, boot_id) VALUES(0, '', 0, '')",
    """CREATE TABLE mark(
        name TEXT PRIMARY KEY, schedule TEXT NOT NULL, decided_at REAL NOT NULL,
        task_id TEXT NOT NULL, fired INTEGER NOT NULL, skipped INTEGER NOT NULL,
        failed INTEGER NOT NULL, decisions INTEGER NOT NULL, last_due_at REAL, last_late_s REAL NOT NULL
    ) WITHOUT ROWID""",
    """CREATE TABLE history(
        id INTEGER PRIMARY KEY, name TEXT NOT NULL, slot INTEGER NOT NULL, number INTEGER NOT NULL,
        due_at REAL NOT NULL, decided_at REAL NOT NULL, outcome TEXT NOT NULL, reason TEXT NOT NULL,
        task_id TEXT NOT NULL, count INTEGER NOT NULL, exact INTEGER NOT NULL, term INTEGER NOT NULL
    )""",
    "CREATE UNIQUE INDEX history_ring ON history(name, slot)",
)

#: A step never changes once a release has it.
SCHEMA = Schema("beat", (SqlStep(1, 1, _TABLES),))
