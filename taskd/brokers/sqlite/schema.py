"""The tables of the embedded broker.

A message is written once (``message``) and never rewritten; a small row in exactly one of four
tables says where it stands::

    publish ─► ready ──claim──► claimed ──ack──► (gone)
                 ▲  ▲               │ └──dead──► dead
                 │  └───requeue─────┤
              (due)                 │
    publish ─► delayed ◄───delay────┘

Why not a state column in the message: each claim would rewrite the page of the body and two
indexes.  Here a claim moves 20 bytes from the head of one tree to the end of another (measured:
half the write-ahead log and 1.6 times the rate).

``ready`` is the claim index itself: by queue, then highest priority (``rank`` is minus the
priority), then arrival.  ``claimed`` is small, so releasing an owner's claims scans it.
``owner`` has one row per living generation, which is the lease of everything it claimed; times
there are CLOCK_MONOTONIC of the boot beside them.  ``sequence`` hands out message ids that are
never used twice, so that a late settlement cannot hit another message.  ``once`` remembers the task
ids that must not be accepted a second time (``brokers/once.py``).

``dead`` holds letters of two kinds: messages that cannot run, and messages of tasks that failed for good.
``failed_total`` counts the second kind, by which its bounds are kept.
"""

from __future__ import annotations

from taskd.storage.sqlite.schema import Schema, SqlStep

_TABLES = (
    """CREATE TABLE queue(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        auto_delete INTEGER NOT NULL DEFAULT 0,
        -- The rest is for queues that vanish: expires_s after expires_until with no listener alive.
        expires_s REAL,
        expires_until REAL,
        boot_id TEXT,
        listener TEXT
    )""",
    "CREATE TABLE exchange(name TEXT PRIMARY KEY, type TEXT NOT NULL) WITHOUT ROWID",
    """CREATE TABLE binding(
        exchange TEXT NOT NULL, routing_key TEXT NOT NULL, queue INTEGER NOT NULL,
        PRIMARY KEY(exchange, routing_key, queue)
    ) WITHOUT ROWID""",
    """CREATE TABLE message(
        id INTEGER PRIMARY KEY,
        task_id TEXT NOT NULL,
        headers BLOB NOT NULL,
        body BLOB NOT NULL,
        content_type TEXT NOT NULL,
        content_encoding TEXT NOT NULL,
        reply_to TEXT NOT NULL,
        correlation_id TEXT NOT NULL,
        exchange TEXT NOT NULL,
        routing_key TEXT NOT NULL,
        -- JSON of the AMQP properties that have no column; NULL for none.
        properties BLOB
    )""",
    """CREATE TABLE ready(
        queue INTEGER NOT NULL, rank INTEGER NOT NULL, id INTEGER NOT NULL,
        deliveries INTEGER NOT NULL, deaths INTEGER NOT NULL,
        PRIMARY KEY(queue, rank, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE delayed(
        queue INTEGER NOT NULL, due_at REAL NOT NULL, id INTEGER NOT NULL, rank INTEGER NOT NULL,
        deliveries INTEGER NOT NULL, deaths INTEGER NOT NULL,
        PRIMARY KEY(queue, due_at, id)
    ) WITHOUT ROWID""",
    """CREATE TABLE claimed(
        id INTEGER PRIMARY KEY, owner INTEGER NOT NULL, queue INTEGER NOT NULL,
        rank INTEGER NOT NULL, deliveries INTEGER NOT NULL, deaths INTEGER NOT NULL
    )""",
    """CREATE TABLE dead(
        id INTEGER PRIMARY KEY, queue TEXT NOT NULL, rank INTEGER NOT NULL, deaths INTEGER NOT NULL,
        -- The task's name stands in the headers too, where nothing can look for it.
        died_at REAL NOT NULL, task TEXT NOT NULL, reason TEXT NOT NULL,
        -- Last, so that a list does not read it.
        evidence BLOB NOT NULL
    )""",
    """CREATE TABLE owner(
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        name TEXT NOT NULL UNIQUE,
        boot_id TEXT NOT NULL,
        lease_until REAL NOT NULL
    )""",
    "CREATE TABLE sequence(next INTEGER NOT NULL)",
    "INSERT INTO sequence(next) VALUES(1)",
)
_ONCE = (
    """CREATE TABLE once(
        task_id TEXT PRIMARY KEY,
        -- The message, also after it is gone; a retry's is another one.
        message INTEGER NOT NULL,
        sent_at REAL NOT NULL
    ) WITHOUT ROWID""",
    "CREATE INDEX once_age ON once(sent_at)",
)

#: The former release takes these letters for dead ones: it lists, requeues and deletes them as such.
_FAILED = (
    "ALTER TABLE dead ADD COLUMN kind TEXT NOT NULL DEFAULT 'dead'",
    "ALTER TABLE dead ADD COLUMN size INTEGER NOT NULL DEFAULT 0",
    "CREATE INDEX dead_place ON dead(queue, kind)",
    "CREATE INDEX dead_failed ON dead(died_at, id, size) WHERE kind='failed'",
    "CREATE TABLE failed_total(letters INTEGER NOT NULL, bytes INTEGER NOT NULL)",
    "INSERT INTO failed_total(letters, bytes) VALUES(0, 0)",
    """CREATE TRIGGER failed_kept AFTER INSERT ON dead WHEN new.kind='failed' BEGIN
        UPDATE failed_total SET letters=letters+1, bytes=bytes+new.size;
    END""",
    """CREATE TRIGGER failed_gone AFTER DELETE ON dead WHEN old.kind='failed' BEGIN
        UPDATE failed_total SET letters=letters-1, bytes=bytes-old.size;
    END""",
)

#: A step never changes once a release has it.
SCHEMA = Schema("broker", (SqlStep(1, 1, _TABLES), SqlStep(2, 2, _ONCE), SqlStep(3, 2, _FAILED)))

_PLACES = " UNION ALL ".join(f"SELECT id FROM {table}" for table in ("ready", "delayed", "claimed", "dead"))  # noqa: S608
#: Counts of what must not be, each in one statement, for ``taskctl store check``.
INVARIANTS = {
    "messages that stand in no queue": f"SELECT count(*) FROM message WHERE id NOT IN ({_PLACES})",  # noqa: S608
    "messages that stand in more than one place": (
        f"SELECT count(*) FROM (SELECT id FROM ({_PLACES}) GROUP BY id HAVING count(*) > 1)"  # noqa: S608
    ),
    "places without their message": (
        f"SELECT count(*) FROM ({_PLACES}) WHERE id NOT IN (SELECT id FROM message)"  # noqa: S608
    ),
    "claims of nobody": "SELECT count(*) FROM claimed WHERE owner NOT IN (SELECT id FROM owner)",
}
