"""Task ids that must not run, remembered for a while and up to a number.

The limits are Celery's: 50,000 ids, three hours.  Pure: the time comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

MAX_IDS = 50_000
KEEP_S = 10_800.0


class RevokedIds:
    """A set that forgets its oldest members.  Times are monotonic seconds, never decreasing."""

    def __init__(self, max_ids: int = MAX_IDS, keep_s: float = KEEP_S) -> None:
        self._max_ids = max_ids
        self._keep_s = keep_s
        # Insertion order is age order: adding an id again moves it to the end.
        self._added: dict[str, float] = {}

    def add(self, ids: Iterable[str], now: float) -> None:
        """Remember ids from now on."""
        for task_id in ids:
            self._added.pop(task_id, None)
            self._added[task_id] = now
        self._forget(now)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._added

    def __len__(self) -> int:
        return len(self._added)

    def ids(self, now: float) -> Sequence[str]:
        """Return the remembered ids, oldest first."""
        self._forget(now)
        return list(self._added)

    def _forget(self, now: float) -> None:
        while self._added:
            oldest = next(iter(self._added))
            if len(self._added) <= self._max_ids and self._added[oldest] + self._keep_s > now:
                break
            del self._added[oldest]
