"""A beat's hold on its store: opened, lost and opened again; the lease, and how long it is trusted.

The holder stops trusting its lease ``margin`` before it ends, by its own monotonic clock and counted from
before the request.  So it never acts on a lease that another beat may have taken.  A store that cannot be
used does not stop beat.  Then this beat fires on its own (``Alone``), and the broker's memory of ids keeps
two beats from firing the same occurrence.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.errors import LeaseLostError, StorageError, StorageReplacedError
from taskd.beat.stores.base import BeatStore, Decision, Declared, Mark
from taskd.protocol.status import Trouble

LEASE_S = 5.0
_MARGIN = 0.2
#: How long a leader whose lease ended while it had nothing to do has precedence.
_PRECEDENCE = 0.2
#: With less than this part of a lease left to be trusted it is extended before anything is sent.
_TOO_SHORT = 0.2
#: Decisions that are kept in memory while the store is away.
_OWED_DECISIONS = 10_000
REOPEN = Backoff(base_s=0.5, max_s=15.0, floor_s=0.1)

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Leader:
    """This beat fires until ``trusted_until``; ``is_new``: another may have fired before this term."""

    term: int
    trusted_until: float
    is_new: bool


@dataclass(frozen=True, slots=True)
class Follower:
    """Another beat fires; look again at ``look_until``."""

    holder: str
    look_until: float


@dataclass(frozen=True, slots=True)
class Alone:
    """The store is away: this beat fires without a lease."""


Role = Leader | Follower | Alone


class Keeper:
    """One beat's store.  Nothing here raises ``StorageError``."""

    def __init__(
        self,
        open_store: Callable[[], BeatStore],
        *,
        lease_s: float = LEASE_S,
        monotonic: Callable[[], float] = clock.monotonic,
        now: Callable[[], float] = clock.now,
        opened: Callable[[BeatStore], None],
        closed: Callable[[BeatStore], None],
    ) -> None:
        """``opened`` and ``closed`` are told when wake-ups can be listened to, and no more."""
        self._open_store = open_store
        self._lease_s = lease_s
        self._monotonic = monotonic
        self._now = now
        self._opened = opened
        self._closed = closed
        self._leader: Leader | None = None
        self._term = 0
        self._overdue_since = math.inf
        self._failures = 0
        self._reopen_until = 0.0
        self._owed: deque[Decision] = deque(maxlen=_OWED_DECISIONS)
        self.store: BeatStore | None = None
        self.problem = ""
        #: Since when the store is away, and when its file was lost in this life of beat; by the wall clock.
        self._away_since: float | None = None
        self._replaced_at: float | None = None

    @property
    def is_leader(self) -> bool:
        """Whether the lease is held and trusted now."""
        return self._leader is not None and self._monotonic() < self._leader.trusted_until

    @property
    def look_until(self) -> float:
        """When a store that is away is tried again; ``inf`` when it is there."""
        return math.inf if self.store is not None else self._reopen_until

    def open(self) -> bool:
        """Open the store if it is away and its time has come; return True when it was opened now."""
        if self.store is not None or self._monotonic() < self._reopen_until:
            return False
        try:
            self.store = self._open_store()
        except StorageError as error:
            self._lose(error)
            return False
        if self._failures:
            logger.info("store is back, decisions kept meanwhile=%d", len(self._owed))
        self._failures = 0
        self.problem = ""
        self._away_since = None
        self._opened(self.store)
        return True

    def lose(self, error: StorageError) -> None:
        """Close a store that failed; it is opened again later."""
        self._lose(error)

    def _lose(self, error: StorageError) -> None:
        self._leader = None
        self._term = 0
        if self.store is not None:
            self._closed(self.store)
            self.store.close()
            self.store = None
        self._failures += 1
        # A file that was replaced is there to be opened; anything else needs time or a person.
        delay_s = 0.0 if isinstance(error, StorageReplacedError) else REOPEN.delay_s(self._failures)
        self._reopen_until = self._monotonic() + delay_s
        if self._away_since is None:
            self._away_since = self._now()
        if isinstance(error, StorageReplacedError):
            self._replaced_at = self._now()
        if str(error) != self.problem:
            logger.error("store cannot be used, entries of the file and of apps go on firing: %s", error)
        self.problem = str(error)

    def trouble(self) -> Trouble | None:
        """Return what an operator should know of the store; a lost file until beat starts again."""
        if self._away_since is not None:
            text = (
                "the store cannot be used, so no history is kept, and changes by taskctl beat do not count; "
                f"all entries that are known go on firing: {self.problem} (taskctl doctor looks at its place)"
            )
            return Trouble(text, self._away_since)
        if self._replaced_at is not None:
            text = (
                "the file of the store was deleted or replaced while in use; entries made at run time, "
                "pauses and history were in it; stop beat and bring a copy back, or restart beat to go on "
                "with the new file"
            )
            return Trouble(text, self._replaced_at)
        return None

    def stand(self) -> Role:
        """Take or extend the lease; the answer says who fires.  For when something is due."""
        # With little trust left the lease would end while the runs are on their way, to be decided on again.
        soon = self._monotonic() + self._lease_s * _TOO_SHORT
        if self._leader is not None and soon < self._leader.trusted_until:
            return self._leader
        if self.store is None:
            return Alone()
        before = self._monotonic()
        try:
            answer = self.store.lead(self._lease_s, succeed=before >= self._overdue_since)
        except StorageError as error:
            self._lose(error)
            return Alone()
        if not answer.is_mine:
            self._leader = None
            look_until = answer.until
            if before >= answer.until:  # it let its lease end; it comes back, or else we succeed it
                look_until = before + self._lease_s * _PRECEDENCE
            self._overdue_since = look_until
            return Follower(answer.holder, look_until)
        self._overdue_since = math.inf
        is_new = answer.term != self._term
        if is_new:
            logger.info("leading term=%d", answer.term)
        self._term = answer.term
        self._leader = Leader(answer.term, before + self._lease_s * (1 - _MARGIN), is_new)
        held, self._leader = self._leader, Leader(self._term, self._leader.trusted_until, is_new=False)
        return held

    def marks(self, names: Collection[str] | None = None) -> Sequence[Mark]:
        """Return what the store knows; nothing while it is away."""
        if self.store is None:
            return ()
        try:
            return tuple(self.store.marks(names))
        except StorageError as error:
            self._lose(error)
            return ()

    def record(
        self, marks: Sequence[Mark], decisions: Sequence[Decision], done: Collection[int] = ()
    ) -> bool:
        """Write down; False when it could not be, and the marks must be written the next time.

        Decisions are kept until then.
        """
        self._owed.extend(decisions)
        if self.store is None or self._leader is None:
            return False
        try:
            self.store.record(self._leader.term, marks, tuple(self._owed), done)
        except LeaseLostError as error:
            logger.warning("no longer leading: %s", error)
            self._leader = None
            self._owed.clear()  # the new leader finds these occurrences sent, and records them
            return False
        except StorageError as error:
            self._lose(error)
            return False
        self._owed.clear()
        return True

    def declared(self) -> Declared:
        """Return what was learned from the apps' code when it was last read."""
        if self.store is None:
            return Declared()
        try:
            return self.store.declared()
        except StorageError as error:
            self._lose(error)
            return Declared()

    def declare(self, declared: Declared) -> None:
        """Keep what was learned from the app for operators to see."""
        if self.store is None:
            return
        try:
            self.store.declare(declared)
        except StorageError as error:
            self._lose(error)

    def close(self) -> None:
        """Give up the lease, so that another beat goes on at once, and release the store."""
        if self.store is None:
            return
        self._closed(self.store)
        try:
            self.store.resign()
        except StorageError as error:
            logger.warning("the lease stays until it ends: %s", error)
        self.store.close()
        self.store = None
