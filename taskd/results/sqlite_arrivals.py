"""The results of many tasks as they arrive in a SQLite file: the rows that are added to its table."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from typing import Any, Protocol
from zlib import crc32

import msgspec

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.protocol.results import FINAL_STATES
from taskd.storage.sqlite.database import Database
from taskd.storage.sqlite.wake import WakeListener

NEWEST = "SELECT coalesce(max(number), 0) FROM result"
_ARRIVED = "SELECT number, task_id, state FROM result WHERE number > ? ORDER BY number LIMIT ?"
_NUMBERED = (
    "SELECT task_id, record FROM result WHERE number IN (SELECT value FROM json_each(?)) ORDER BY number"
)
_ARRIVALS_AT_ONCE = 1000
#: A waiter for more tasks than this is woken by any; this many topics fit into the name of a socket.
_MOST_TOPICS = 4
#: Asking again for tasks that have begun takes at most this share of the time.
_BEGUN_SHARE = 0.1

encode_json = msgspec.json.Encoder().encode


class Results(Protocol):
    """The store, as its arrivals ask it."""

    #: Of the file, absolute.
    path: str

    def ends_of(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes | None]:
        """Return the final records, and None for tasks with a record that is not final yet."""

    def read(
        self, deadline: Deadline, statement: str, *values: object
    ) -> tuple[list[tuple[Any, ...]], Database]:
        """Return the rows of one question, and the open file: another one after it was replaced."""


class SqliteArrivals:
    """``Source`` of the rows that are added to the table.

    A row keeps its number when its state changes, so tasks whose row is not final yet are asked for by id.
    """

    def __init__(self, results: Results, task_ids: Collection[str]) -> None:
        self._results = results
        few = len(task_ids) <= _MOST_TOPICS
        self._topics = {topic_of(task_id) for task_id in task_ids} if few else None
        self._listener: WakeListener | None = None
        self._database: Database | None = None
        #: The number of the last row that was read.
        self._seen = 0
        #: Tasks with a row that is not final yet, and the monotonic time before which nobody asks for them.
        self._begun: dict[str, None] = {}
        self._ask_begun_from = 0.0

    def ask(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Note where the table ends and listen, then ask: what is stored in between is read later."""
        if self._listener is None:
            rows, self._database = self._results.read(deadline, NEWEST)
            self._seen = rows[0][0]
            self._listener = WakeListener(self._results.path, self._topics)
        return self._final(task_ids, deadline)

    def _final(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        found = {}
        for task_id, record in self._results.ends_of(task_ids, deadline).items():
            if record is None:
                self._begun[task_id] = None
            else:
                found[task_id] = record
                self._begun.pop(task_id, None)
        return found

    def arrived(self, pending: Set[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Return the final records among the rows that were added since, and of tasks that had begun."""
        assert self._listener is not None, "ask comes first"
        self._listener.clear()
        numbers: list[int] = []
        while not numbers:
            rows, database = self._results.read(deadline, _ARRIVED, self._seen, _ARRIVALS_AT_ONCE)
            if database is not self._database:
                raise StorageError(f"{self._results.path} was deleted or replaced while in use")
            for number, task_id, state in rows:
                if task_id not in pending:
                    continue
                if state in FINAL_STATES:
                    numbers.append(number)
                else:
                    self._begun[task_id] = None
            if rows:
                self._seen = rows[-1][0]
            if len(rows) < _ARRIVALS_AT_ONCE:
                break
        found = self._begun_ones(deadline)
        if numbers:
            found.update(self._results.read(deadline, _NUMBERED, encode_json(numbers).decode())[0])
        return found

    def lower(self, end: int) -> None:
        """Note that the table ends here now: rows of this process were deleted."""
        self._seen = min(self._seen, end)

    def _begun_ones(self, deadline: Deadline) -> dict[str, bytes]:
        start = clock.monotonic()
        if not self._begun or start < self._ask_begun_from:
            return {}
        found = dict(self._final(list(self._begun), deadline))
        now = clock.monotonic()
        self._ask_begun_from = now + (now - start) / _BEGUN_SHARE
        return found

    def fileno(self) -> int:
        """Return the descriptor of the listener."""
        assert self._listener is not None, "ask comes first"
        return self._listener.fileno()

    def close(self) -> None:
        """Listen no more."""
        if self._listener is not None:
            self._listener.close()
            self._listener = None
        self._begun.clear()


def topic_of(task_id: str) -> int:
    """Return the number to which a waiter for a task listens."""
    return crc32(task_id.encode("utf-8", "surrogatepass"))
