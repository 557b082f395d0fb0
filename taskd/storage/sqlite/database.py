"""One open SQLite file: pragmas, schema, transactions, and errors that name the file and remedy.

The only importer of ``sqlite3``.  Every write goes through ``write``: ``BEGIN IMMEDIATE`` (a
deferred transaction that upgrades fails at once instead of waiting), committed when the block
ends, rolled back on anything else.

Pragmas, by measurement (benchmarks/broker_sqlite.py): a checkpoint each 16 MB of log instead of 4 MB
publishes a tenth faster in bulk.  A page cache of 0.5 to 16 MB, mmap and ``secure_delete`` make no
difference, so the cache is small and the others are left alone.
"""

from __future__ import annotations

import ctypes
import logging
import os
import sqlite3
import threading
from types import TracebackType

from taskd.base import forks
from taskd.base.errors import StorageError, StorageReplacedError
from taskd.base.lifecycle import Deadline
from taskd.base.urls import shown
from taskd.storage.sqlite.errors import translate
from taskd.storage.sqlite.log import garbage_bytes
from taskd.storage.sqlite.ownership import make_private
from taskd.storage.sqlite.places import resolved
from taskd.storage.sqlite.schema import Schema, bring_up, check

logger = logging.getLogger(__name__)

#: The handle that a transaction block is given; only this module makes them.
Connection = sqlite3.Connection

SCHEME = "sqlite"
_MINIMUM_VERSION = (3, 35)  # RETURNING
_CHECKPOINT_PAGES = 4000
_JOURNAL_LIMIT_BYTES = 64 * 1024 * 1024
_CACHE_KIB = 1024
_SHORTEST_WAIT_S = 0.001
_TURN_MS = 18  # SQLite's busy handler sleeps 1, 2, 5 and 10 ms in it


def path_of(url: str) -> str:
    """Return the absolute path of ``sqlite:///absolute`` or ``sqlite://relative``.

    Raises: ``StorageError`` when the URL names no file.
    """
    scheme, separator, path = url.partition("://")
    if scheme != SCHEME or not separator or not path:
        raise StorageError(f'"{shown(url)}" names no SQLite file; expected sqlite:///absolute/path.db')
    return os.path.abspath(path)


class Database:
    """One connection.  Not thread-safe, but may be handed from thread to thread under a lock.

    A fork waits until no thread is inside of SQLite, which keeps locks in the memory of the process, those of
    files among them.  A child with a copy of a held one would hang, or find the file locked for ever.
    """

    def __init__(self, path: str, schema: Schema, *, durability: str, busy_timeout_s: float) -> None:
        self.path = path
        self._schema = schema
        #: Held by the thread that is inside of SQLite.
        self.inside = threading.RLock()
        self._inherited = False
        self.busy_timeout_s = busy_timeout_s
        self.limit_s = busy_timeout_s
        self.patient = True
        self._write = _Block(self, writing=True)
        self._read = _Block(self, writing=False)
        if sqlite3.sqlite_version_info < _MINIMUM_VERSION:
            raise StorageError(
                f"SQLite {sqlite3.sqlite_version} is too old; taskd needs 3.35 or newer, "
                "run it with a Python that is linked to a newer SQLite"
            )
        target = resolved(path)
        make_private(target)
        lost_bytes = garbage_bytes(target)
        if lost_bytes:
            logger.warning(
                "%s-wal is not a log of SQLite: the transactions that were in its %d bytes are lost",
                path,
                lost_bytes,
            )
        forks.guard(self)
        with self.inside:
            self._connect(target, schema, durability)

    def _connect(self, target: str, schema: Schema, durability: str) -> None:
        try:
            self.connection = sqlite3.connect(
                target,
                timeout=self.busy_timeout_s,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=256,
            )
            try:
                self._prepare(schema, durability, Deadline.after(self.busy_timeout_s))
                self._inode = os.stat(self.path).st_ino
            except BaseException:
                self.connection.close()
                raise
        except sqlite3.Error as error:
            raise self.translate(error) from error
        except OSError as error:
            raise StorageError(f"{self.path}: {error.strerror}") from error

    def _prepare(self, schema: Schema, durability: str, deadline: Deadline) -> None:
        connection = self.connection
        if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            # Does nothing but in an empty file; the others learn to shrink by ``taskctl store compact``.
            connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
            self._switch_to_wal(deadline)
        synchronous = "FULL" if durability == "full" else "NORMAL"
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store=MEMORY")
        connection.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        connection.execute(f"PRAGMA journal_size_limit={_JOURNAL_LIMIT_BYTES}")
        self._wait_until(deadline)
        self._bring_up(schema, deadline)
        self.be_patient_for(self.busy_timeout_s)

    def _wait_until(self, deadline: Deadline) -> None:
        self.be_patient_for(max(deadline.remaining_s(), _SHORTEST_WAIT_S))

    def be_patient_for(self, limit_s: float) -> None:
        """Let each later transaction wait at most this long for those of others."""
        self.limit_s = limit_s
        if self.patient:
            with self.inside:
                self.connection.execute(f"PRAGMA busy_timeout={int(limit_s * 1000)}")

    def _switch_to_wal(self, deadline: Deadline) -> None:
        # SQLite does not wait here for other first openers, but it does for a transaction: each tries, and
        # waits for its turn.  A lock of our own would be held by whoever hangs, or lie about for good.
        # Never lock or open the file itself.  A process that closes a descriptor of it loses SQLite's locks
        # on it.  The next process that leaves takes the file for its own and deletes the log
        # (https://www.sqlite.org/howtocorrupt.html, 2.2).
        connection = self.connection
        while True:
            try:
                mode = connection.execute("PRAGMA journal_mode=WAL").fetchone()[0]
                break
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or deadline.passed:
                    raise
            self._wait_until(deadline)
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("ROLLBACK")
        if mode != "wal":
            raise StorageError(
                f"{self.path}: this file system cannot hold a shared SQLite file "
                f"(journal mode stays {mode}); use a local disk"
            )

    def _bring_up(self, schema: Schema, deadline: Deadline) -> None:
        if not schema.due(check(self.connection, schema, self.path)):
            return
        more = True
        while more:
            self._wait_until(deadline)
            with self.write() as connection:
                more = bring_up(connection, schema, self.path)

    def write(self) -> _Block:
        """Return a ``with`` block that is one write transaction; do not nest.

        Raises: ``StorageError`` and its kinds, ``ValueError`` for a value that no column takes; then
        nothing of the block was written.
        """
        return self._write

    def read(self) -> _Block:
        """Return a ``with`` block whose single statements are translated errors and no lock."""
        return self._read

    def is_in_place(self) -> bool:
        """Return whether the path still leads to the open file; one stat(2), for before each write."""
        try:
            return os.stat(self.path).st_ino == self._inode
        except OSError:
            return False

    def check_usable(self) -> None:
        """Look whether this connection may go on, for now and then.

        Raises: ``StorageReplacedError`` when the file was deleted or replaced, ``NewerFormatError`` when a
        newer taskd has changed it meanwhile.
        """
        if not self.is_in_place():
            raise StorageReplacedError(
                f"{self.path} was deleted or replaced while in use; data that was not copied is gone"
            )
        with self.read() as connection:
            check(connection, self._schema, self.path)

    def close(self) -> None:
        """Close the file.  May be called twice; does nothing to a connection made before a fork."""
        if not self._inherited:
            with self.inside:
                self.connection.close()

    def rest(self, timeout_s: float) -> bool:
        """Keep other threads out of SQLite, for a fork."""
        return self.inside.acquire(timeout=timeout_s)

    def go_on(self) -> None:
        """Let other threads in again."""
        self.inside.release()

    def give_up(self) -> None:
        """Keep the parent's connection in a forked child for good.

        Closing it, which the end of the interpreter does too, would touch files that the parent is using
        (https://www.sqlite.org/howtocorrupt.html, 2.6).
        """
        self._inherited = True
        self.inside = threading.RLock()
        if (connection := getattr(self, "connection", None)) is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))

    def translate(self, error: sqlite3.Error) -> StorageError:
        """Return our error for SQLite's."""
        if _names_a_table(str(error)):
            try:
                check(self.connection, self._schema, self.path)
            except StorageError as refusal:
                return refusal  # the table has gone to a newer taskd
            except sqlite3.Error:
                pass  # the first error says more
        return translate(error, self.path, self.limit_s)


def _names_a_table(text: str) -> bool:
    """Return whether an error is what a statement of an older taskd meets after a breaking step."""
    return text.startswith(("no such table", "no such column", "table ", "NOT NULL constraint"))


class _Block:
    """The ``with`` block of a database; a class because contextlib's generator costs 1 µs more.

    SQLite's own busy handler backs off to 100 ms, while a transaction here takes well under one: a
    waiting writer loses its turn to whoever just came.  A write therefore starts the backoff anew every
    ``_TURN_MS`` until ``busy_timeout_s`` is over.  Measured with six processes that publish in bulk without a
    pause: the longest wait falls from 3 s to 0.5 s, at the same rate.
    """

    __slots__ = ("_database", "_writing")

    def __init__(self, database: Database, *, writing: bool) -> None:
        self._database = database
        self._writing = writing

    def __enter__(self) -> Connection:
        connection = self._database.connection
        self._database.inside.acquire()
        try:
            self._be_patient(not self._writing)
            if self._writing:
                self._begin(connection)
        except BaseException as error:
            self._database.inside.release()
            if isinstance(error, sqlite3.Error):
                raise self._database.translate(error) from error
            raise
        return connection

    def _be_patient(self, patient: bool) -> None:
        database = self._database
        if patient is not database.patient:
            wait_ms = int(database.limit_s * 1000) if patient else _TURN_MS
            database.connection.execute(f"PRAGMA busy_timeout={wait_ms}")
            database.patient = patient

    def _begin(self, connection: Connection) -> None:
        deadline = Deadline.after(self._database.limit_s)
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) or deadline.passed:
                    raise
            else:
                return

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._end(error)
        finally:
            self._database.inside.release()

    def _end(self, error: BaseException | None) -> None:
        database = self._database
        connection = database.connection
        if error is None and self._writing:
            try:
                connection.execute("COMMIT")
            except sqlite3.Error as failure:
                self._roll_back()
                raise database.translate(failure) from failure
            return
        if error is not None:
            self._roll_back()
            if isinstance(error, sqlite3.IntegrityError) or "binding parameter" in str(error):
                raise ValueError(f"a value of a wrong type was to be stored: {error}") from error
            if isinstance(error, sqlite3.Error):
                raise database.translate(error) from error

    def _roll_back(self) -> None:
        connection = self._database.connection
        try:
            # SQLite has rolled back by itself after some errors, such as a full disk.
            if connection.in_transaction:
                connection.execute("ROLLBACK")
        except sqlite3.Error:
            pass  # the error that brought us here is the one to report
