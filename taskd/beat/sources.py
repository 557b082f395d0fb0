"""Exchanges all entries of one source at once: those of the file, or those that the apps' code declares."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from taskd.beat.app_source import warn_of_unknown_tasks
from taskd.beat.book import Book
from taskd.beat.entries import EntrySource
from taskd.beat.keeper import Keeper
from taskd.beat.stores.base import Declared
from taskd.config.schedule import BeatEntryConfig

logger = logging.getLogger(__name__)


class Sources:
    """The way of entries into a beat that runs.  The caller has beat tick afterwards."""

    def __init__(self, book: Book, keeper: Keeper, now: Callable[[], float]) -> None:
        self._book = book
        self._keeper = keeper
        self._now = now
        self._tasks: frozenset[str] = frozenset()

    def take_file(self, entries: Mapping[str, BeatEntryConfig]) -> int:
        """Take over what a reload found in the file; return how many entries that changed."""
        return len(self._exchange(EntrySource.FILE, entries))

    def take_declared(self, declared: Declared) -> None:
        """Take over the entries that the apps' code declares, and warn of tasks that no app has.

        Without names of tasks some app is not read yet; its entries of the last reading go on.
        """
        if not declared.tasks:
            known = self._book.listing.by_source[EntrySource.APP]
            declared = replace(declared, entries={**known, **declared.entries})
        self._book.listing.since = dict(declared.since)
        names = self._exchange(EntrySource.APP, declared.entries)
        if declared.tasks != self._tasks:
            self._tasks = declared.tasks
            names = set(self._book.rows)
        rows = (self._book.rows[name] for name in sorted(names & self._book.rows.keys()))
        warn_of_unknown_tasks((row.listed.entry for row in rows), declared.tasks)
        self._keeper.declare(replace(declared, since={}))

    def _exchange(self, source: EntrySource, entries: Mapping[str, BeatEntryConfig]) -> set[str]:
        names = self._book.listing.replace(source, entries)
        self._book.refresh(names, self._now())
        self._book.adopt(self._keeper.marks(names), self._now())
        for name in names & self._book.unusable.keys():
            logger.error("entry cannot be used entry=%s: %s", name, self._book.unusable[name])
        return names
