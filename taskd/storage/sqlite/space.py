"""Gives pages back to the disk that a file has not needed for a while, a little at a time.

SQLite keeps deleted data as free pages and fills them again, so a drained backlog leaves a large file.  A
caller with a periodic turn gives pages back in it.  That needs a file with incremental vacuum, as new files
have it; ``taskctl store compact`` gives it to an older one.
"""

from __future__ import annotations

import logging
from typing import NamedTuple

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.storage.sqlite.database import Connection, Database

logger = logging.getLogger(__name__)

#: A page that was free for all this time is not needed.
WINDOW_S = 300.0
#: Of free pages, a file keeps half as many as it uses, for what comes next.
_RESERVE_DIVISOR = 2
_LEAST_RESERVE = 16
#: In one transaction, for which others wait: as many pages as this, or as this time allows (measured: 8 to
#: 60 µs for each).
STEP_PAGES = 256
_STEP_S = 0.004
#: In one turn, for which the loop of its process waits.
TURN_STEPS = 2

_LOG_PATIENCE_MS = 8

_INCREMENTAL = 2


class Pages(NamedTuple):
    """How a file is filled."""

    used: int
    free: int
    shrinks: bool


class Surplus:
    """The free pages that were not needed during a whole window, less a reserve.  Pure."""

    def __init__(self, window_s: float = WINDOW_S) -> None:
        self._window_s = window_s
        self._until: float | None = None
        self._fewest = 0
        self._spare = 0

    def look(self, pages: Pages, now: float) -> int:
        """Return how many pages may be given back now."""
        if self._until is None:
            self._fewest = pages.free
            self._until = now + self._window_s
        self._fewest = min(self._fewest, pages.free)
        if now >= self._until:
            self._spare = self._fewest
            self._fewest = pages.free
            self._until = now + self._window_s
        return max(0, min(self._spare, pages.free) - reserve(pages.used))


def reserve(used: int) -> int:
    """Return how many free pages a file keeps."""
    return max(_LEAST_RESERVE, used // _RESERVE_DIVISOR)


def pages_of(connection: Connection) -> Pages:
    """Return how the file is filled."""
    total, free, vacuum = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "auto_vacuum")
    )
    return Pages(total - free, free, vacuum == _INCREMENTAL)


class Space:
    """Gives back the surplus of one open file, turn by turn."""

    def __init__(self, database: Database, surplus: Surplus | None = None) -> None:
        self.database = database
        self._surplus = surplus or Surplus()
        #: The backlog has left a log as long as SQLite lets one become.
        self._is_log_long = False

    def turn(self, now: float) -> None:
        """Give back as much as this turn allows; where that fails, the next turn tries again.

        Raises: ``StorageError`` when the file cannot be read.
        """
        with self.database.read() as connection:
            pages = pages_of(connection)
        wanted = self._surplus.look(pages, now) if pages.shrinks else 0
        try:
            if wanted:
                self._give_back(wanted)
            elif self._is_log_long:
                shorten_log(self.database)
                self._is_log_long = False
        except StorageError as error:
            # To give back takes a little room in the log, which a full disk does not have.
            logger.info("free pages are kept for now: %s", error)

    def _give_back(self, wanted: int) -> None:
        self._is_log_long = True
        for _ in range(TURN_STEPS):
            if wanted > 0:
                wanted -= give_back(self.database, wanted)
        settle_log(self.database)


def give_back(database: Database, limit: int) -> int:
    """Give back free pages in one short transaction; return how many: 0 when none is left.

    Raises: ``StorageError``.
    """
    given = 0
    with database.write() as connection:
        until = clock.monotonic() + _STEP_S
        left = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
        while given < min(limit, left, STEP_PAGES) and clock.monotonic() < until:
            # One by one: Python would take only the first step of a greater number.
            connection.execute("PRAGMA incremental_vacuum(1)").fetchall()
            given += 1
    return given


def settle_log(database: Database) -> None:
    """Write the log into the file, which shortens the file; wait for nobody."""
    with database.read() as connection:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()


def shorten_log(database: Database) -> None:
    """Write the log into the file and make it empty, unless somebody reads or writes in it all the time."""
    with database.read() as connection:
        connection.execute(f"PRAGMA busy_timeout={_LOG_PATIENCE_MS}")
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        finally:
            connection.execute(f"PRAGMA busy_timeout={int(database.limit_s * 1000)}")
