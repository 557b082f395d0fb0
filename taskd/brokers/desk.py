"""The operator's side of a broker: its queues and its dead letters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """How many messages of a queue are in each condition."""

    name: str
    ready: int
    delayed: int
    claimed: int
    dead: int
    #: Claimed by Celery workers, or left by one that was killed (Redis alone).
    unacked: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One line about a message in the dead-letter queue; ``task`` is empty where no name is known."""

    id: int
    queue: str
    task: str
    task_id: str
    reason: str
    died_at: float
    deaths: int


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A dead letter with the evidence of its end and the whole message."""

    letter: DeadLetter
    evidence: bytes
    headers: bytes
    body: bytes
    content_type: str
    content_encoding: str


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Selects dead letters.  A letter matches if every field that is set matches."""

    task: str | None = None
    queue: str | None = None
    #: Wall-clock second of the earliest death.
    since_at: float | None = None
    ids: Sequence[int] | None = None


ALL_DEAD = DeadFilter()


class Desk(Protocol):
    """The operator's view of a broker; every call is one short transaction."""

    def queues(self) -> Sequence[QueueInfo]:
        """Return all durable queues, by name."""

    def purge(self, queue: str) -> int:
        """Delete the ready and delayed messages of a queue, not the claimed; return how many."""

    def dead_letters(self, which: DeadFilter = ALL_DEAD, limit: int = 100) -> Sequence[DeadLetter]:
        """Return up to ``limit`` dead letters, the newest first.  Bodies are not read."""

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one dead letter with its evidence and message; None when there is none of this id."""

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of dead letters, the oldest first."""

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send dead letters to their queues again with deaths and deliveries at zero; return how many.

        One transaction; some hundred ids at once keep it short.
        """

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these dead letters; return how many there were.  One transaction, as ``requeue_dead``."""

    def close(self) -> None:
        """Release the connection.  May be called twice."""
