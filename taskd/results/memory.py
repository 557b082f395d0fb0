"""Results in the memory of one process, for users' tests; shared by all of the same URL."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Mapping, Sequence

from taskd.base.lifecycle import Deadline
from taskd.config.stores import Stores
from taskd.protocol.results import FINAL_STATES
from taskd.results.base import Post, StoredResult
from taskd.results.collecting import PlainCollector


class _Shelf:
    """The records of one URL; ``changed`` is also their lock."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.results: dict[str, StoredResult] = {}


_shelves: dict[str, _Shelf] = {}
_shelves_lock = threading.Lock()


class MemoryResults:
    """``ResultStore`` of ``memory://``."""

    def __init__(self, url: str) -> None:
        with _shelves_lock:
            self._shelf = _shelves.setdefault(url, _Shelf())

    def reply_to(self) -> str:
        """Return no queue: records are kept here."""
        return ""

    def store(self, results: Sequence[StoredResult]) -> None:
        """Keep all records, and wake those who wait."""
        with self._shelf.changed:
            for result in results:
                former = self._shelf.results.get(result.task_id)
                if former is None or former.state != "SUCCESS" or result.state == "SUCCESS":
                    self._shelf.results[result.task_id] = result
            self._shelf.changed.notify_all()

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the records that exist, by task id."""
        with self._shelf.changed:
            return {
                name: self._shelf.results[name].record for name in task_ids if name in self._shelf.results
            }

    def wait(self, task_ids: Collection[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Block until at least one of the tasks is in a final state; return all final ones."""
        with self._shelf.changed:
            while True:
                found = [self._shelf.results[name] for name in task_ids if name in self._shelf.results]
                final = {result.task_id: result.record for result in found if result.state in FINAL_STATES}
                if final or not task_ids or deadline.passed:
                    return final
                self._shelf.changed.wait(None if math.isinf(deadline.until) else deadline.remaining_s())

    def collect(self, task_ids: Collection[str]) -> PlainCollector:
        """Return what finds the final records of many tasks as they arrive."""
        return PlainCollector(self.wait, task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records; unknown ids are not an error."""
        with self._shelf.changed:
            for name in task_ids:
                self._shelf.results.pop(name, None)

    def expire(self, now: float) -> int:
        """Delete records whose time has come; return how many."""
        with self._shelf.changed:
            expired = [
                name
                for name, result in self._shelf.results.items()
                if result.expires_at is not None and result.expires_at <= now
            ]
            for name in expired:
                del self._shelf.results[name]
            return len(expired)

    def close(self) -> None:
        """Do nothing: others of this process may still use what is kept."""


def open_results(url: str, stores: Stores, post: Post | None) -> MemoryResults:  # noqa: ARG001
    """Return the store of a URL."""
    return MemoryResults(url)
