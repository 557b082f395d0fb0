"""Revoked task ids, task names and stamped headers, remembered for a while and up to a number.

The limits are Celery's: 50,000 of each kind, three hours.  Pure: the time comes in.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum

from taskd.protocol.message import TaskHeaders

MAX_IDS = 50_000
KEEP_S = 10_800.0


class By(str, Enum):
    """By what a task is revoked."""

    ID = "id"
    NAME = "name"
    #: A stamped header, written ``header=value``.
    STAMP = "stamp"


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
        self.forget(now)

    def discard(self, ids: Iterable[str]) -> None:
        """Forget ids, whether known or not."""
        for task_id in ids:
            self._added.pop(task_id, None)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._added

    def __len__(self) -> int:
        return len(self._added)

    def ids(self, now: float) -> Sequence[str]:
        """Return the remembered ids, oldest first."""
        self.forget(now)
        return list(self._added)

    def forget(self, now: float) -> None:
        """Drop what is too old or too much."""
        while self._added:
            oldest = next(iter(self._added))
            if len(self._added) <= self._max_ids and self._added[oldest] + self._keep_s > now:
                break
            del self._added[oldest]


class Revocations:
    """Everything that one worker knows to be revoked.  Times as for ``RevokedIds``."""

    def __init__(self) -> None:
        # Attributes, for every message asks: looking up an Enum's member costs as much as all the rest.
        self._ids = RevokedIds()
        self._names = RevokedIds()
        self._stamps = RevokedIds()
        self._kinds: Mapping[By, RevokedIds] = {
            By.ID: self._ids,
            By.NAME: self._names,
            By.STAMP: self._stamps,
        }

    def __getitem__(self, kind: By) -> RevokedIds:
        return self._kinds[kind]

    def covers(self, headers: TaskHeaders) -> bool:
        """Return whether this task must not run."""
        if headers.id in self._ids or headers.task in self._names:
            return True
        stamps = self._stamps
        return len(stamps) > 0 and any(stamp in stamps for stamp in stamps_of(headers))

    def forget(self, now: float) -> None:
        """Drop what has become too old; until this is called it is still covered."""
        for kind in self._kinds.values():
            kind.forget(now)


def stamps_of(headers: TaskHeaders) -> list[str]:
    """Return the stamps of a task, each written ``header=value``; a header may have several values."""
    stamps = headers.stamps or {}
    found = []
    for name in headers.stamped_headers or stamps:
        value = stamps.get(name)
        values = value if isinstance(value, list) else [value]
        found += [stamp_text(name, each) for each in values if each is not None]
    return found


def stamp_text(name: str, value: object) -> str:
    """Return one stamp as it is remembered and written on a command line."""
    return f"{name}={value}"
