"""No results: what is stored is dropped, and waiting is refused instead of never ending."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.config.stores import Stores
from taskd.results.base import Post, StoredResult
from taskd.results.collecting import PlainCollector


class NullResults:
    """``ResultStore`` of ``null://``."""

    def reply_to(self) -> str:
        """Return no queue: nothing is answered."""
        return ""

    def store(self, results: Sequence[StoredResult]) -> None:
        """Drop the records."""

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return nothing."""
        return {}

    def wait(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Raise ``StorageError``: no result ever comes."""
        raise StorageError(
            'results are off ("null://"), so there is nothing to wait for; set results to a store'
        )

    def collect(self, task_ids: Collection[str]) -> PlainCollector:
        """Return what raises ``StorageError`` at the first question."""
        return PlainCollector(lambda ids, deadline: self.wait([*ids], deadline), task_ids)

    def forget(self, task_ids: Sequence[str]) -> None:
        """Do nothing."""

    def expire(self, now: float) -> int:
        """Return 0."""
        return 0

    def close(self) -> None:
        """Do nothing."""


def open_results(url: str, stores: Stores, post: Post | None) -> NullResults:  # noqa: ARG001
    """Return a store that keeps nothing."""
    return NullResults()
