"""The seam of beat's store: entries, marks, decisions, and one lease with a fencing term.

Any number of beats share a store; one of them holds the lease and fires.  Each change of the holder begins a
new *term*, and what a former holder records late is refused by its term.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from taskd.beat.entries import Pause
from taskd.config.schedule import BeatEntryConfig


class RunOutcome(Enum):
    """The outcome of an occurrence."""

    SENT = "sent"
    #: The broker had its id already: another beat had sent it and not lived to record it.
    ALREADY_SENT = "already sent"
    SKIPPED = "skipped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Mark:
    """How far beat is with an entry, and its counters."""

    name: str
    #: The schedule as text (``entries.schedule_text``); with another schedule the mark means nothing.
    schedule: str
    #: Every occurrence up to this wall-clock second is decided.
    decided_at: float
    #: The message of the last run; empty when there was none.
    task_id: str = ""
    fired: int = 0
    skipped: int = 0
    failed: int = 0
    #: Decisions so far; the number of the latest.
    decisions: int = 0
    last_due_at: float | None = None
    last_late_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Decision:
    """One line of history: an occurrence, or a stretch of skipped ones that begins with it."""

    name: str
    number: int
    due_at: float
    decided_at: float
    outcome: RunOutcome
    #: Why skipped or failed; for what was sent, what had delayed it.
    reason: str = ""
    task_id: str = ""
    #: How many occurrences; the least number where not ``exact``.
    count: int = 1
    exact: bool = True
    term: int = 0

    @property
    def late_s(self) -> float:
        """How long after its time it was decided."""
        return self.decided_at - self.due_at


@dataclass(frozen=True, slots=True)
class RunRequest:
    """An operator wants an entry to run once now."""

    number: int
    name: str
    requested_at: float
    by: str


@dataclass(frozen=True, slots=True)
class StoreChanges:
    """The changes by operators since a revision."""

    revision: int
    #: None where the entry was removed.
    entries: Mapping[str, BeatEntryConfig | None] = field(default_factory=dict)
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    #: All that wait, not only the new ones.
    requests: Sequence[RunRequest] = ()
    #: Entries that cannot be read, with the reason; they are passed over.
    unreadable: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Leadership:
    """The state of the lease; ``until`` is monotonic seconds, ``is_mine`` for who asked."""

    term: int
    holder: str
    until: float
    is_mine: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """The declarations of the app's code: entries, and the names of tasks (empty: not known)."""

    entries: Mapping[str, BeatEntryConfig] = field(default_factory=dict)
    tasks: frozenset[str] = frozenset()
    #: The wall-clock second up to which runs of an entry are decided, where others have run it before.
    since: Mapping[str, float] = field(default_factory=dict)
    #: By the name of an entry: the apps whose entry of that name does not count.
    hidden: Mapping[str, Sequence[str]] = field(default_factory=dict)
    #: Entries that cannot fire, one text each with the reason and the remedy.
    problems: Sequence[str] = ()


class BeatStore(Protocol):
    """One open store.  Not thread-safe.  Every call may raise ``StorageError`` and has then done nothing."""

    # -- for operators; each wakes the beats ---------------------------------------------------

    def put(self, entry: BeatEntryConfig, by: str) -> None:
        """Add an entry, or replace the one of its name."""

    def remove(self, name: str, by: str) -> bool:
        """Remove an entry that was added; False when there is none."""

    def pause(self, name: str, by: str, at: float) -> None:
        """Keep the entries of this name from firing."""

    def resume(self, name: str, by: str, at: float) -> bool:
        """Let them fire again; False when they were not paused."""

    def request(self, name: str, by: str, at: float) -> int:
        """Ask for a run now; return the number of the request."""

    def history(self, name: str | None, limit: int) -> Sequence[Decision]:
        """Return the latest decisions, the latest first; None is all entries."""

    def declared(self) -> Declared:
        """Return what a beat last learned from the app's code."""

    # -- for beats -----------------------------------------------------------------------------

    def changes(self, since: int) -> StoreChanges:
        """Return what changed after a revision; 0 is everything."""

    def revision(self) -> int:
        """Return the revision of the latest change; one short read."""

    def declare(self, declared: Declared) -> None:
        """Keep what was learned from the app's code, for operators."""

    def lead(self, lease_s: float, *, succeed: bool) -> Leadership:
        """Take or extend the lease if nobody else holds it; the answer tells who does.

        A holder that is known to be dead is succeeded at once, others when their lease has ended and
        ``succeed`` is on.  A beat that had nothing to do has let its lease end and comes back.
        """

    def resign(self) -> None:
        """End the lease if it is held here, and wake the others."""

    def marks(self, names: Collection[str] | None = None) -> Iterable[Mark]:
        """Return the marks of these entries, None for all."""

    def record(
        self, term: int, marks: Sequence[Mark], decisions: Sequence[Decision], done: Collection[int] = ()
    ) -> None:
        """Write marks and decisions and delete the requests ``done``, in one transaction.

        Raises: ``LeaseLostError`` when another term has begun; nothing was written then.
        """

    def fileno(self) -> int:
        """Return a descriptor that is readable when operators may have changed something."""

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable until something new happens; then look, in this order."""

    def close(self) -> None:
        """Release everything but the lease.  May be called twice."""
