"""The seam of result backends.

A record is the JSON object that Celery's clients read (``taskd.protocol.results``); a backend
keeps it by task id and wakes those who wait.  Rule of every backend, as in Celery: a stored
SUCCESS is never overwritten by another state.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import Enum
from typing import Protocol, runtime_checkable

import msgspec

from taskd.base.lifecycle import Deadline
from taskd.protocol.chord import Begun, ChordPart


class StoredResult(msgspec.Struct, frozen=True, gc=False):
    """One record to store; ``record`` is JSON text, ``expires_at`` wall clock or None for ever."""

    task_id: str
    state: str
    record: bytes
    expires_at: float | None
    #: The queue that the task's sender named for its result, and the sender's mark for it; empty for none.
    #: Only backends that keep nothing themselves look at them.
    reply_to: str = ""
    correlation_id: str = ""
    #: Where an app that encodes its own records keeps this one; empty for the store's own key.
    key: str = ""


class ResultStore(Protocol):
    """Keeps records.  Safe to share between threads."""

    def reply_to(self) -> str:
        """Return the queue to which results of what this process sends are to be published.

        Empty where records are kept by task id, for everybody.  Raises: ``StorageError``.
        """

    def store(self, results: Sequence[StoredResult]) -> None:
        """Write all records in one trip.

        Raises: ``StorageError``; then none was written and the same call may be made again.
        """

    def get(self, task_ids: Sequence[str]) -> Mapping[str, bytes]:
        """Return the records that exist, by task id."""

    def wait(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Block until at least one of the tasks is in a final state; return all final ones.

        Empty when the deadline passed first.  Wakes by event, with a slow poll as safety net.
        """

    def collect(self, task_ids: Collection[str]) -> Collector:
        """Return what finds the final records of many tasks as they arrive; close it afterwards."""

    def forget(self, task_ids: Sequence[str]) -> None:
        """Delete records; unknown ids are not an error."""

    def expire(self, now: float) -> int:
        """Delete records whose time has come (wall clock); return how many."""

    def close(self) -> None:
        """Release the connection.  May be called twice."""


class Collector(Protocol):
    """Finds final records of many tasks at a cost for each that does not grow with their number.

    For one thread.  It may hold a descriptor or a connection until it is closed.
    """

    def next(self, deadline: Deadline) -> Mapping[str, bytes]:
        """Block until final records have come; return each once, in about the order of their arrival.

        Empty when the deadline passed first, or when all have been returned.
        Raises: ``StorageError`` when the store is away for more than ten seconds; then call it again.
        """

    def close(self) -> None:
        """Release what it holds.  May be called twice."""


@runtime_checkable
class Portable(Protocol):
    """A store whose records a broker on the same server may write, together with what it settles."""

    def writing(self, results: Sequence[StoredResult]) -> object | None:
        """Return the writing of these records for that broker; None when there are too many at once."""


class Box(Protocol):
    """The queue of one process.  One thread at a time calls it."""

    def receive(self) -> Sequence[bytes]:
        """Return what has arrived, never waiting.  Raises: ``StorageError``; then open a new one."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""

    def close(self) -> None:
        """Release the connection; messages in the queue stay there for the next one of its name."""


class Post(Protocol):
    """Carries records to queues."""

    #: How long a record stays in its queue; 0 for ever.
    expires_s: float

    def send(self, results: Sequence[StoredResult]) -> None:
        """Publish each record to its ``reply_to``; where there is no such queue, it goes nowhere.

        From any thread, also after a fork.  Raises: ``StorageError``; then the same call may be made again.
        """

    def box(self, queue: str) -> Box:
        """Open a queue, made if missing; an existing one keeps its messages.  Raises: ``StorageError``."""

    def close(self) -> None:
        """Release the connection.  May be called twice."""


class Counted(str, Enum):
    """The state of a chord after one more of its parts has returned."""

    #: Others have not returned yet, or nobody has said how many there are.
    WAITS = "waits"
    #: It was the last, and the caller is to send the body.
    COMPLETE = "complete"
    #: All have returned; somebody else is about to send the body, or has died over it.
    CLAIMED = "claimed"
    #: The body has been sent.
    SENT = "sent"


class ChordStore(Protocol):
    """Counts the parts of chords.  For one thread.  Every method raises ``StorageError``."""

    def begin(self, chord: Begun) -> None:
        """Note how many parts end a chord, before its header is sent."""

    def add(self, group: str, count: int) -> None:
        """Add ``count`` parts to a chord that one of its parts still keeps from its end."""

    def count(self, parts: Sequence[tuple[ChordPart, bytes]], token: str) -> Sequence[Counted]:
        """Count parts in one trip, each once however often it returns.

        Beside each is ``[1, task id, state, result]`` as JSON.  ``token``: of the caller, who has the claim
        of a complete chord for some seconds, and gets it again when it asks again.
        """

    def values(self, group: str) -> Sequence[bytes]:
        """Return what was counted, in the order of the header."""

    def tree(self, group: str) -> bytes | None:
        """Return Celery's saved ``GroupResult``, a tree of results of a header with groups in it; or None."""

    def finish(self, group: str, token: str) -> None:
        """Forget a chord whose body has been sent by the holder of this token."""

    def fail(self, group: str) -> None:
        """Let a failed chord never be complete again."""

    def close(self) -> None:
        """Release the connection.  May be called twice."""
