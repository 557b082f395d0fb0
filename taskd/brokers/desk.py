"""The operator's side of a broker: its queues and its letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from taskd.protocol.delivery import LetterKind


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """How many messages of a queue are in each condition."""

    name: str
    ready: int
    delayed: int
    claimed: int
    dead: int
    #: Kept since their tasks failed for good.
    failed: int = 0
    #: Claimed by Celery workers, or left by one that was killed (Redis alone).
    unacked: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One line about a letter, dead or failed; ``task`` is empty where no name is known."""

    id: int
    queue: str
    task: str
    task_id: str
    reason: str
    died_at: float
    deaths: int
    kind: LetterKind = LetterKind.DEAD


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A letter with the evidence of its end and the whole message."""

    letter: DeadLetter
    evidence: bytes
    headers: bytes
    body: bytes
    content_type: str
    content_encoding: str


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Selects letters.  A letter matches if every field that is set matches."""

    task: str | None = None
    queue: str | None = None
    #: Wall-clock second of the earliest death.
    since_at: float | None = None
    ids: Sequence[int] | None = None
    #: None for letters of every kind.
    kind: LetterKind | None = LetterKind.DEAD


ALL_DEAD = DeadFilter()


class Desk(Protocol):
    """The operator's view of a broker; every call is one short transaction."""

    def queues(self) -> Sequence[QueueInfo]:
        """Return all durable queues, by name."""

    def purge(self, queue: str) -> int:
        """Delete the ready and delayed messages of a queue, not the claimed; return how many."""

    def dead_letters(self, which: DeadFilter = ALL_DEAD, limit: int = 100) -> Sequence[DeadLetter]:
        """Return up to ``limit`` letters, the newest first.  Bodies are not read."""

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one letter of either kind with its evidence and message; None when there is none."""

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of letters, the oldest first."""

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send letters of either kind to their queues again, as if never tried; return how many.

        Deaths, deliveries and retries are at zero.  One transaction; some hundred ids at once keep it short.
        """

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these letters of either kind; return how many there were, in one transaction."""

    def close(self) -> None:
        """Release the connection.  May be called twice."""
