"""The outward queues of a worker: its decisions, until ``flush`` sends them.

An item that cannot be sent stays here and is sent again, or is void when the lease was lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from taskd.base import clock
from taskd.consumer.settling.chords import ChordEnd, Returned
from taskd.protocol.chord import Begun, ChordPart
from taskd.protocol.delivery import Delivery, Outgoing, Settlement, UnclaimedFailure
from taskd.protocol.execution import DecidedEnd, RecordPlace
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState, record_for
from taskd.results.base import StoredResult
from taskd.sending.callbacks import Aftermath

#: A batch this large is sent without waiting for more.
FULL_BATCH = 256
#: The oldest outcome waits at most this long while other tasks run.
LINGER_S = 0.002


class Settling:
    """The unsent outcomes of one worker.  Everybody queues by the methods; ``flush`` alone takes out.

    ``first_at`` is the monotonic time of the oldest one, 0 when nothing waits.
    """

    def __init__(self, result_expires_s: float) -> None:
        self._expires_s = result_expires_s
        self.settlements: list[Settlement] = []
        #: Results in two lists: another worker runs the message again if this generation is lost, or not.
        self.records: list[StoredResult] = []
        self.last_words: list[StoredResult] = []
        self.messages: list[Outgoing] = []
        #: Letters of tasks that failed after their messages were acknowledged.
        self.failures: list[UnclaimedFailure] = []
        #: Chords to be known before the messages of their headers leave.
        self.begins: list[Begun] = []
        #: Parts of chords to be counted; parts that another worker has claimed; chords that ended by them.
        self.returned: list[Returned] = []
        self.claimed: list[Returned] = []
        self.ended: list[ChordEnd] = []
        self.first_at = 0.0

    def __len__(self) -> int:
        return sum(self.mark())

    def mark(self) -> Sequence[int]:
        """Return how much is queued, for ``back_to``."""
        # Spelled out: it is asked for with every message.
        return (
            len(self.settlements),
            len(self.records),
            len(self.last_words),
            len(self.messages),
            len(self.failures),
            len(self.begins),
            len(self.returned),
            len(self.claimed),
            len(self.ended),
        )

    def back_to(self, mark: Sequence[int]) -> None:
        """Drop what was queued since by a step that failed before its end; nothing was sent since."""
        for queue, length in zip(self._queues(), mark, strict=True):
            del queue[length:]

    def _queues(self) -> Sequence[list[Any]]:
        return (
            *(self.settlements, self.records, self.last_words, self.messages, self.failures),
            *(self.begins, self.returned, self.claimed, self.ended),
        )

    def settle(self, settlement: Settlement) -> None:
        """Queue a settlement of the present generation."""
        self.settlements.append(settlement)
        if not self.first_at:
            self.first_at = clock.monotonic()

    def keep_result(
        self,
        task_id: str,
        state: str,
        record: bytes,
        given_up: Sequence[str] = (),
        *,
        sender: Delivery | None = None,
        last_word: bool = False,
        place: RecordPlace | None = None,
    ) -> None:
        """Queue a result record, and the same end for tasks that were to follow.

        ``sender``: the task's message, which may say where its result is to be sent.
        ``place``: where the record is to be kept, if not as all others.
        ``last_word``: nobody runs the task again whatever becomes of this generation, for it was
        acknowledged before it ran.
        """
        records = self.last_words if last_word else self.records
        life_s = self._expires_s if place is None else place.life_s
        expires_at = clock.now() + life_s if life_s else None
        to, mark = ("", "") if sender is None else (sender.reply_to, sender.correlation_id)
        key = "" if place is None else place.key
        records.append(StoredResult(task_id, state, record, expires_at, to, mark, key))
        for other in given_up:
            records.append(StoredResult(other, state, record_for(record, other), expires_at, to))
        self._stir()

    def answer(
        self,
        ending: DecidedEnd,
        after: Aftermath,
        sender: Delivery,
        headers: TaskHeaders,
        *,
        keep: bool = True,
        last_word: bool = False,
    ) -> None:
        """Queue the end of a task that the worker has decided: the result, if it is kept, and its parts."""
        record = ending.record
        if keep:
            self.keep_result(
                ending.task_id, ending.state, record, after.given_up, sender=sender, last_word=last_word
            )
        self.count(after.parts, record, headers, sender.queue, last_word=last_word)

    def count(
        self,
        parts: Sequence[ChordPart],
        record: bytes,
        headers: TaskHeaders,
        queue: str,
        *,
        last_word: bool = False,
    ) -> None:
        """Queue the parts of chords that have ended with the task of ``headers``, as ``record`` says."""
        if parts:
            self.returned += [Returned(part, record, headers, queue, last_word) for part in parts]
            self._stir()

    def recount(self) -> None:
        """Look again at complete chords of which somebody else had the claim: he may have died."""
        if self.claimed:
            self.returned += self.claimed
            self.claimed.clear()
            self._stir()

    def begin(self, chords: Sequence[Begun]) -> None:
        """Queue chords that are to be known before any message leaves."""
        self.begins += chords

    def publish(self, message: Outgoing) -> None:
        """Queue a message: the retry of a task that was acknowledged early."""
        self.messages.append(message)
        self._stir()

    def keep_failure(self, failure: UnclaimedFailure) -> None:
        """Queue the letter of a task whose message was acknowledged before it ran."""
        self.failures.append(failure)
        self._stir()

    def follow(self, after: Aftermath) -> None:
        """Queue the errbacks of a task."""
        self.begin(after.begins)
        for message in after.errbacks:
            self.publish(message)

    def _stir(self) -> None:
        if not self.first_at:
            self.first_at = clock.monotonic()

    def end(self, ended: ChordEnd) -> None:
        """Queue what follows the end of a chord."""
        self.ended.append(ended)
        self.begins += ended.begins
        self.messages += ended.messages
        expires_at = clock.now() + self._expires_s if self._expires_s else None
        for task_id in ended.given_up:
            record = record_for(ended.record, task_id)
            self.last_words.append(StoredResult(task_id, TaskState.FAILURE.value, record, expires_at))

    def is_due(self, now: float, *, idle: bool) -> bool:
        """Return whether a flush is worth its trip: the pool is idle, the batch is full or old."""
        if not self.first_at:
            return False
        return idle or len(self.settlements) >= FULL_BATCH or now - self.first_at >= LINGER_S

    def all_sent(self) -> None:
        """Note that nothing waits any more."""
        self.first_at = 0.0

    def void(self) -> int:
        """Drop the settlements of a lost generation, and the results that go with them; return how many.

        Their messages belong to another worker now, which will run them and store its own results.
        """
        count = len(self.settlements)
        self.settlements.clear()
        self.records.clear()
        self.returned[:] = [each for each in self.returned if each.last_word]
        self.claimed[:] = [each for each in self.claimed if each.last_word]
        self.first_at = clock.monotonic() if self else 0.0
        return count
