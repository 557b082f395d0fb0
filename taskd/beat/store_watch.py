"""Keeps beat's book in step with its store: changes by operators, and the runs of other beats."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.beat.book import Book
from taskd.beat.entries import EntrySource
from taskd.beat.keeper import Keeper

logger = logging.getLogger(__name__)


class StoreWatch:
    """Reads the store into the book.  For the loop's thread; a store that fails is the keeper's to reopen."""

    def __init__(self, book: Book, keeper: Keeper, now: Callable[[], float], *, look_every_s: float) -> None:
        """``look_every_s``: how often it looks whether a wake-up was lost."""
        self._book = book
        self._keeper = keeper
        self._now = now
        self._look_every_s = look_every_s
        self._look_until = 0.0

    def load(self) -> None:
        """Read everything, at the start."""
        self._keeper.open()
        self._book.listing.replace(EntrySource.APP, self._keeper.declared().entries)
        self._take_changes()
        self._book.load(self._keeper.marks(), self._now())
        for name, problem in self._book.unusable.items():
            logger.error("entry cannot be used entry=%s: %s", name, problem)

    def wake(self) -> None:
        """Take over the changes of which the store's wake-up tells."""
        store = self._keeper.store
        if store is not None:
            store.clear_wakeups()
            self._book.refresh(self._take_changes(), self._now())

    def look(self, now: float) -> None:
        """Look for a lost wake-up now and then, and agree with a store that came back or was made anew."""
        self._look_for_lost_wakeup(now)
        if self._keeper.open():
            former = self._book.forget_run_time()
            self._book.refresh(former | self._take_changes(), now)
            self._book.adopt_all(self._keeper.marks(), now)

    def see_runs_of_others(self, now: float) -> None:
        """Adopt the leader's record of the entries that are due here."""
        names = self._book.agenda.due(now)
        if names:
            self._book.adopt(self._keeper.marks(names), now)
        if self._book.requests:
            self._take_changes()

    def see_all_runs(self, now: float) -> None:
        """Adopt the record of all entries: another beat may have fired before this one."""
        self._book.adopt_all(self._keeper.marks(), now)

    def _look_for_lost_wakeup(self, now: float) -> None:
        store = self._keeper.store
        if store is None or clock.monotonic() < self._look_until:
            return
        self._look_until = clock.monotonic() + self._look_every_s
        try:
            is_new = store.revision() != self._book.revision
        except StorageError as error:
            self._keeper.lose(error)
            return
        if is_new:
            self._book.refresh(self._take_changes(), now)

    def _take_changes(self) -> set[str]:
        """Read the changes by operators; return the names that they concern."""
        store = self._keeper.store
        if store is None:
            return set()
        try:
            changes = store.changes(self._book.revision)
        except StorageError as error:
            self._keeper.lose(error)
            return set()
        for name, problem in changes.unreadable.items():
            logger.error("entry in the store cannot be read entry=%s: %s", name, problem)
        return self._book.apply(changes)
