"""Beat's store in a SQLite file: for all beats of one host.

Leases are monotonic seconds of one boot, so that no clock that is set can end or lengthen one.  The holder is
named after its wake-up socket, which tells the others at once when it has died.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import msgspec

from taskd.base.errors import LeaseLostError
from taskd.beat.entries import Pause, decode_entry, encode_entry
from taskd.beat.stores.base import Decision, Declared, Leadership, Mark, RunOutcome, RunRequest, StoreChanges
from taskd.beat.stores.schema import SCHEMA
from taskd.brokers.timing import Timing
from taskd.config.schedule import BeatEntryConfig
from taskd.config.schema import Config
from taskd.config.stores import SqliteConfig, Stores
from taskd.storage.sqlite.database import Connection, Database, path_of
from taskd.storage.sqlite.upkeep import FileUpkeep
from taskd.storage.sqlite.wake import WakeListener, WakeSender, new_listener_id

_ENTRIES = "SELECT name, text FROM entry WHERE revision > ?"
_PAUSES = "SELECT name, since_at, until_at, changed_by FROM pause WHERE revision > ?"
_REQUESTS = "SELECT number, name, requested_at, requested_by FROM request ORDER BY number"
_PUT = (
    "INSERT INTO entry(name, revision, text, changed_at, changed_by) VALUES(?,?,?,?,?)"
    " ON CONFLICT(name) DO UPDATE SET revision=excluded.revision,"
    " text=excluded.text, changed_at=excluded.changed_at, changed_by=excluded.changed_by"
)
_MARKS = (
    "SELECT name, schedule, decided_at, task_id, fired, skipped, failed, decisions, last_due_at, last_late_s"
    " FROM mark"
)
_AMONG = "SELECT value FROM json_each(?)"
_DECISION = (
    "SELECT name, number, due_at, decided_at, outcome, reason, task_id, count, exact, term FROM history"
)
_KEEP_MARK = (
    "INSERT OR REPLACE INTO mark(name, schedule, decided_at, task_id, fired, skipped, failed, decisions,"
    " last_due_at, last_late_s) VALUES(?,?,?,?,?,?,?,?,?,?)"
)
_KEEP_DECISION = (
    "INSERT OR REPLACE INTO history(name, slot, number, due_at, decided_at, outcome, reason, task_id, count,"
    " exact, term) VALUES(?,?,?,?,?,?,?,?,?,?,?)"
)
_LEASE = "SELECT term, holder, lease_until, boot_id FROM lease"


class SqliteStore:
    """``Store`` over one file."""

    def __init__(
        self, url: str, config: SqliteConfig, history: int, timing: Timing, *, listens: bool = True
    ) -> None:
        """Open the file; ``listens`` off is for operators.  Raises: ``StorageError``."""
        path = path_of(url)
        self._listener: WakeListener | None = None
        self._history = max(history, 1)
        self._timing = timing
        self._holder = new_listener_id()
        self._database = Database(
            path, SCHEMA, durability=config.durability, busy_timeout_s=config.busy_timeout
        )
        self._sender = WakeSender(path)
        try:
            if listens:
                self._listener = WakeListener(path, listener_id=self._holder)
        except BaseException:
            self.close()
            raise

    # -- for operators ---------------------------------------------------------------------------

    def put(self, entry: BeatEntryConfig, by: str) -> None:
        """Add an entry, or replace the one of its name."""
        with self._change() as (connection, revision):
            row = (entry.name, revision, encode_entry(entry), self._timing.now(), by)
            connection.execute(_PUT, row)

    def remove(self, name: str, by: str) -> bool:
        """Remove an entry that was added; False when there is none."""
        with self._change() as (connection, revision):
            removed = connection.execute(
                "UPDATE entry SET text=NULL, revision=?, changed_at=?, changed_by=?"
                " WHERE name=? AND text IS NOT NULL",
                (revision, self._timing.now(), by, name),
            ).rowcount
        return removed == 1

    def pause(self, name: str, by: str, at: float) -> None:
        """Keep the entries of this name from firing."""
        with self._change() as (connection, revision):
            row = (name, revision, at, by)
            connection.execute(
                "INSERT INTO pause(name, revision, since_at, until_at, changed_by)"
                " VALUES(?1, ?2, ?3, NULL, ?4) ON CONFLICT(name) DO UPDATE SET"
                " revision=?2, since_at=iif(until_at IS NULL, since_at, ?3), until_at=NULL, changed_by=?4",
                row,
            )

    def resume(self, name: str, by: str, at: float) -> bool:
        """Let them fire again; False when they were not paused."""
        with self._change() as (connection, revision):
            resumed = connection.execute(
                "UPDATE pause SET until_at=?, revision=?, changed_by=? WHERE name=? AND until_at IS NULL",
                (at, revision, by, name),
            ).rowcount
        return resumed == 1

    def request(self, name: str, by: str, at: float) -> int:
        """Ask for a run now; return the number of the request."""
        with self._change() as (connection, _):
            row = connection.execute(
                "INSERT INTO request(name, requested_at, requested_by) VALUES(?,?,?) RETURNING number",
                (name, at, by),
            ).fetchone()
        return int(row[0])

    def history(self, name: str | None, limit: int) -> Sequence[Decision]:
        """Return the latest decisions, the latest first."""
        where = "" if name is None else " WHERE name=?"
        parameters = (limit,) if name is None else (name, limit)
        with self._database.read() as connection:
            rows = connection.execute(f"{_DECISION}{where} ORDER BY id DESC LIMIT ?", parameters)
            return [_decision(row) for row in rows]

    def declared(self) -> Declared:
        """Return what a beat last learned from the app's code."""
        with self._database.read() as connection:
            row = connection.execute("SELECT text FROM declared").fetchone()
        return Declared() if row is None else msgspec.json.decode(row[0], type=Declared)

    # -- for beats -------------------------------------------------------------------------------

    def changes(self, since: int) -> StoreChanges:
        """Return what changed after a revision; 0 is everything."""
        entries: dict[str, BeatEntryConfig | None] = {}
        unreadable: dict[str, str] = {}
        with self._database.read() as connection:
            # Read first: what comes between is read now and once more the next time.
            revision = int(connection.execute("SELECT revision FROM change").fetchone()[0])
            for name, text in connection.execute(_ENTRIES, (since,)):
                try:
                    entries[name] = None if text is None else decode_entry(text)
                except ValueError as error:
                    unreadable[name] = str(error)
            pauses = {row[0]: Pause(*row[1:]) for row in connection.execute(_PAUSES, (since,))}
            requests = [RunRequest(*row) for row in connection.execute(_REQUESTS)]
        return StoreChanges(revision, entries, pauses, requests, unreadable)

    def revision(self) -> int:
        """Return the revision of the latest change."""
        self._database.check_usable()
        with self._database.read() as connection:
            return int(connection.execute("SELECT revision FROM change").fetchone()[0])

    def declare(self, declared: Declared) -> None:
        """Keep what was learned from the app's code."""
        with self._database.write() as connection:
            connection.execute("DELETE FROM declared")
            connection.execute("INSERT INTO declared(text) VALUES(?)", (msgspec.json.encode(declared),))

    def lead(self, lease_s: float, *, succeed: bool) -> Leadership:
        """Take or extend the lease if nobody else holds it."""
        self._database.check_usable()
        with self._database.write() as connection:
            term, holder, until, boot = connection.execute(_LEASE).fetchone()
            now = self._timing.monotonic()
            this_boot = self._timing.boot()
            if holder != self._holder:
                is_over = succeed and now >= until
                if boot == this_boot and not is_over and holder and self._sender.is_alive(holder):
                    return Leadership(term, holder, until, is_mine=False)
                term += 1
            until = now + lease_s
            connection.execute(
                "UPDATE lease SET term=?, holder=?, lease_until=?, boot_id=?",
                (term, self._holder, until, this_boot),
            )
        return Leadership(term, self._holder, until, is_mine=True)

    def resign(self) -> None:
        """End the lease if it is held here, and wake the others."""
        with self._database.write() as connection:
            ended = connection.execute(
                "UPDATE lease SET holder='', lease_until=0 WHERE holder=?", (self._holder,)
            ).rowcount
        if ended:
            self._sender.wake()

    def marks(self, names: Collection[str] | None = None) -> Iterable[Mark]:
        """Return the marks of these entries, None for all."""
        with self._database.read() as connection:
            if names is None:
                return [Mark(*row) for row in connection.execute(_MARKS)]
            parameters = (msgspec.json.encode(list(names)).decode(),)
            return [
                Mark(*row) for row in connection.execute(f"{_MARKS} WHERE name IN ({_AMONG})", parameters)
            ]

    def record(
        self, term: int, marks: Sequence[Mark], decisions: Sequence[Decision], done: Collection[int] = ()
    ) -> None:
        """Write marks and decisions in one transaction, if the term is still the latest."""
        self._database.check_usable()
        with self._database.write() as connection:
            latest = int(connection.execute("SELECT term FROM lease").fetchone()[0])
            if latest != term:
                raise LeaseLostError(f"term {term} of beat is over, {latest} has begun; nothing was recorded")
            connection.executemany(_KEEP_MARK, [_mark_row(mark) for mark in marks])
            rows = [_decision_row(each, self._history, term) for each in decisions]
            connection.executemany(_KEEP_DECISION, rows)
            connection.executemany("DELETE FROM request WHERE number=?", [(number,) for number in done])

    def fileno(self) -> int:
        """Return a descriptor that is readable when operators may have changed something."""
        return -1 if self._listener is None else self._listener.fileno()

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable until something new happens."""
        if self._listener is not None:
            self._listener.clear()

    def close(self) -> None:
        """Release the file.  May be called twice."""
        if self._listener is not None:
            self._listener.close()
        self._sender.close()
        self._database.close()

    @contextmanager
    def _change(self) -> Iterator[tuple[Connection, int]]:
        """One transaction of an operator with the revision that it makes; wakes the beats afterwards."""
        self._database.check_usable()
        with self._database.write() as connection:
            row = connection.execute("UPDATE change SET revision=revision+1 RETURNING revision").fetchone()
            yield connection, int(row[0])
        self._sender.wake()


def _decision(row: tuple[Any, ...]) -> Decision:
    name, number, due_at, decided_at, outcome, reason, task_id, count, exact, term = row
    return Decision(
        *(name, number, due_at, decided_at, RunOutcome(outcome), reason, task_id),
        *(count, bool(exact), term),
    )


def _mark_row(mark: Mark) -> tuple[object, ...]:
    return (
        *(mark.name, mark.schedule, mark.decided_at, mark.task_id, mark.fired, mark.skipped),
        *(mark.failed, mark.decisions, mark.last_due_at, mark.last_late_s),
    )


def _decision_row(decision: Decision, ring: int, term: int) -> tuple[object, ...]:
    return (
        *(decision.name, decision.number % ring, decision.number, decision.due_at, decision.decided_at),
        *(decision.outcome.value, decision.reason, decision.task_id, decision.count, decision.exact, term),
    )


def open_store(url: str, config: Config, timing: Timing | None, listens: bool) -> SqliteStore:
    """Open the file.  Raises: ``StorageError``."""
    return SqliteStore(url, config.sqlite, config.beat.history, timing or Timing(), listens=listens)


def open_upkeep(url: str, stores: Stores) -> FileUpkeep:
    """Return the file of a URL for ``taskctl store``; it is not opened yet."""
    return FileUpkeep(
        path_of(url),
        SCHEMA,
        durability=stores.sqlite.durability,
        busy_timeout_s=stores.sqlite.busy_timeout,
    )
