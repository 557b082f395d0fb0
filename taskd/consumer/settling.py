"""Collect settlements and results, and send them in batches.

A result is stored before its message is acknowledged, or in the same step where both lie in one Redis: a
crash in between runs the task once more, never loses it.  What cannot be sent stays here and is sent
again, or is void when the lease was lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from taskd import clock
from taskd.app.callbacks import Aftermath
from taskd.brokers.base import Publisher
from taskd.brokers.intake import Carrying, Delivery, Intake, Outgoing, Settlement
from taskd.consumer.chords import Chords, Ended, Returned
from taskd.consumer.endings import Ending
from taskd.protocol.chord import Begun, ChordPart
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import State, record_for
from taskd.results.base import Counted, Portable, ResultStore, StoredResult

logger = logging.getLogger(__name__)

#: A batch this large is sent without waiting for more.
FULL_BATCH = 256
#: The oldest outcome waits at most this long while other tasks run.
LINGER_S = 0.002


class Settling:
    """The unsent outcomes of one worker.

    ``first_at`` is the monotonic time of the oldest one, 0 when nothing waits.
    """

    def __init__(
        self,
        results: ResultStore,
        publisher: Publisher,
        result_expires_s: float,
        chords: Chords | None = None,
        *,
        one_server: bool = False,
    ) -> None:
        """``one_server``: messages and results lie in the same place."""
        self._results = results
        self._portable = results if one_server and isinstance(results, Portable) else None
        self._publisher = publisher
        self._chords = chords or Chords(None, results)
        self._expires_s = result_expires_s
        self._settlements: list[Settlement] = []
        #: Results whose message another worker runs again should this generation be lost, and the others.
        self._records: list[StoredResult] = []
        self._last_words: list[StoredResult] = []
        self._messages: list[Outgoing] = []
        #: Chords to be known before the messages of their headers leave.
        self._begins: list[Begun] = []
        #: Parts of chords to be counted, those of which somebody else has the claim, and what ended by them.
        self._returned: list[Returned] = []
        self._claimed: list[Returned] = []
        self._ended: list[Ended] = []
        self.first_at = 0.0

    def __len__(self) -> int:
        records = len(self._records) + len(self._last_words)
        chords = len(self._begins) + len(self._returned) + len(self._claimed) + len(self._ended)
        return len(self._settlements) + records + len(self._messages) + chords

    def settle(self, settlement: Settlement) -> None:
        """Queue a settlement of the present generation."""
        self._settlements.append(settlement)
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
    ) -> None:
        """Queue a result record, and the same end for tasks that were to follow.

        ``sender``: the task's message, which may say where its result is to be sent.
        ``last_word``: nobody runs the task again whatever becomes of this generation, for it was
        acknowledged before it ran.
        """
        records = self._last_words if last_word else self._records
        expires_at = clock.now() + self._expires_s if self._expires_s else None
        to, mark = ("", "") if sender is None else (sender.reply_to, sender.correlation_id)
        records.append(StoredResult(task_id, state, record, expires_at, to, mark))
        for other in given_up:
            records.append(StoredResult(other, state, record_for(record, other), expires_at, to))
        self._stir()

    def answer(
        self,
        ending: Ending,
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
            self._returned += [Returned(part, record, headers, queue, last_word) for part in parts]
            self._stir()

    def recount(self) -> None:
        """Look again at complete chords of which somebody else had the claim: he may have died."""
        if self._claimed:
            self._returned += self._claimed
            self._claimed = []
            self._stir()

    def begin(self, chords: Sequence[Begun]) -> None:
        """Queue chords that are to be known before any message leaves."""
        self._begins += chords

    def publish(self, message: Outgoing) -> None:
        """Queue a message: the retry of a task that was acknowledged early."""
        self._messages.append(message)
        self._stir()

    def follow(self, after: Aftermath) -> None:
        """Queue the errbacks of a task."""
        self.begin(after.begins)
        for message in after.errbacks:
            self.publish(message)

    def _stir(self) -> None:
        if not self.first_at:
            self.first_at = clock.monotonic()

    def is_due(self, now: float, *, idle: bool) -> bool:
        """Return whether a flush is worth its trip: the pool is idle, the batch is full or old."""
        if not self.first_at:
            return False
        return idle or len(self._settlements) >= FULL_BATCH or now - self.first_at >= LINGER_S

    def flush(self, intake: Intake) -> Sequence[int]:
        """Send everything; return the broker tags whose settlement was refused.

        Raises: ``StorageError`` or ``BrokerError``; what was not sent stays queued.
        """
        writing = self._writing(intake)
        refused: Sequence[int] = ()
        if writing is not None:
            refused = cast("Carrying", intake).settle_after(writing, self._settlements)
            self._records, self._last_words, self._settlements = [], [], []
        else:
            self._send_what_comes_first()
            if self._settlements:
                refused = intake.settle(self._settlements)
                self._settlements = []
        self.first_at = 0.0
        return refused

    def _writing(self, intake: Intake) -> object | None:
        """Return the writing of the results if it can go with the settlements: nothing comes between."""
        records = self._records + self._last_words
        between = self._begins or self._returned or self._messages or self._ended
        if self._portable is None or not records or between or not isinstance(intake, Carrying):
            return None
        return self._portable.writing(records)

    def _send_what_comes_first(self) -> None:
        self._store()
        if self._returned:
            self._count()
            self._store()
        if self._messages:
            self._publisher.publish(self._messages)
            self._messages = []
        while self._ended:
            self._chords.finish(self._ended[0])
            del self._ended[0]

    def _store(self) -> None:
        if self._records or self._last_words:
            self._results.store(self._records + self._last_words)
            self._records, self._last_words = [], []
        while self._begins:
            self._chords.begin(self._begins[0])
            del self._begins[0]

    def _count(self) -> None:
        """Count parts, and queue what follows those that were the last of their chords."""
        while self._returned:
            counted = list(zip(self._chords.count(self._returned), self._returned, strict=True))
            self._claimed += [each for how, each in counted if how is Counted.CLAIMED]
            self._returned = [each for how, each in counted if how is Counted.COMPLETE]
            outer: list[Returned] = []
            try:
                while self._returned:
                    ended = self._chords.end(self._returned[0])
                    del self._returned[0]
                    if ended is not None:
                        outer += ended.returned
                        self._queue_end(ended)
            finally:
                self._returned += outer

    def _queue_end(self, ended: Ended) -> None:
        self._ended.append(ended)
        self._begins += ended.begins
        self._messages += ended.messages
        expires_at = clock.now() + self._expires_s if self._expires_s else None
        for task_id in ended.given_up:
            record = record_for(ended.record, task_id)
            self._last_words.append(StoredResult(task_id, State.FAILURE.value, record, expires_at))

    def void(self) -> int:
        """Drop the settlements of a lost generation, and the results that go with them; return how many.

        Their messages belong to another worker now, which will run them and store its own results.
        """
        count = len(self._settlements)
        self._settlements = []
        self._records = []
        self._returned = [each for each in self._returned if each.last_word]
        self._claimed = [each for each in self._claimed if each.last_word]
        self.first_at = clock.monotonic() if self else 0.0
        return count
