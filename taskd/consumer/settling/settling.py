"""Collect settlements and results, and send them in batches.

A result is stored before its message is acknowledged, or in the same step where both lie in one Redis: a
crash in between runs the task once more, never loses it.  An item that cannot be sent stays here and is sent
again, or is void when the lease was lost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

from taskd.base import clock
from taskd.base.errors import BackendError
from taskd.brokers.base import Carrying, Intake, Publisher
from taskd.consumer.settling.chords import ChordEnd, Chords, Returned
from taskd.protocol.chord import Begun, ChordPart
from taskd.protocol.delivery import Dead, Delivery, Outgoing, Settlement
from taskd.protocol.exceptions import WorkerLostError
from taskd.protocol.execution import DecidedEnd
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState, failure_record, record_for
from taskd.results.base import Counted, Portable, ResultStore, StoredResult
from taskd.sending.callbacks import Aftermath

logger = logging.getLogger(__name__)

Item = TypeVar("Item")

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
        in_one_step: bool = False,
    ) -> None:
        """``in_one_step``: the broker writes the results as it settles; the kinds of both can do that."""
        self._results = results
        self._portable = cast("Portable", results) if in_one_step else None
        self._publisher = publisher
        self._chords = chords or Chords(None, results)
        self._expires_s = result_expires_s
        self._settlements: list[Settlement] = []
        #: Results in two lists: another worker runs the message again if this generation is lost, or not.
        self._records: list[StoredResult] = []
        self._last_words: list[StoredResult] = []
        self._messages: list[Outgoing] = []
        #: Chords to be known before the messages of their headers leave.
        self._begins: list[Begun] = []
        #: Parts of chords to be counted; parts that another worker has claimed; chords that ended by them.
        self._returned: list[Returned] = []
        self._claimed: list[Returned] = []
        self._ended: list[ChordEnd] = []
        self.first_at = 0.0

    def __len__(self) -> int:
        return sum(self.mark())

    def settlements(self) -> Sequence[Settlement]:
        """Return the settlements that wait."""
        return tuple(self._settlements)

    def mark(self) -> Sequence[int]:
        """Return how much is queued, for ``back_to``."""
        # Spelled out: it is asked for with every message.
        return (
            len(self._settlements),
            len(self._records),
            len(self._last_words),
            len(self._messages),
            len(self._begins),
            len(self._returned),
            len(self._claimed),
            len(self._ended),
        )

    def back_to(self, mark: Sequence[int]) -> None:
        """Drop what was queued since by a step that failed before its end; nothing was sent since."""
        for queue, length in zip(self._queues(), mark, strict=True):
            del queue[length:]

    def _queues(self) -> Sequence[list[Any]]:
        return (
            *(self._settlements, self._records, self._last_words, self._messages),
            *(self._begins, self._returned, self._claimed, self._ended),
        )

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

        Raises: ``BackendError``; unsent items stay queued.  Any other exception of a
        store or broker costs the one item: see ``_send_singly``.
        """
        try:
            refused = self._send_together(intake)
        except BackendError:
            raise
        except Exception:
            logger.exception("outcomes=%d cannot be sent together; sending them one by one", len(self))
            refused = self._send_singly(intake)
        self.first_at = 0.0
        return refused

    def _send_together(self, intake: Intake) -> Sequence[int]:
        writing = self._writing()
        refused: Sequence[int] = ()
        if writing is not None:
            refused = cast("Carrying", intake).settle_after(writing, self._settlements)
            self._records = []
            self._last_words = []
            self._settlements = []
        else:
            self._send_what_comes_first()
            if self._settlements:
                refused = intake.settle(self._settlements)
                self._settlements = []
        return refused

    def _send_singly(self, intake: Intake) -> Sequence[int]:
        """Send each thing alone, in the order of ``flush``; a client of an unsendable one is told.

        Otherwise the one outcome that no store can take would end this worker, and the next one.
        """
        refused: list[int] = []
        for records in (self._records, self._last_words):
            _each(records, lambda each: self._results.store([each]), self._not_stored)
        _each(self._begins, self._chords.begin)
        self._count_singly()
        for records in (self._records, self._last_words):
            _each(records, lambda each: self._results.store([each]), self._not_stored)
        _each(self._begins, self._chords.begin)
        _each(self._messages, lambda each: self._publisher.publish([each]), self._not_sent)
        _each(
            self._settlements,
            lambda each: refused.extend(intake.settle([each])),
            lambda each, error: refused.extend(intake.settle([_parked(each, error)])),
        )
        _each(self._ended, self._chords.finish)
        return refused

    def _count_singly(self) -> None:
        parts, self._returned = self._returned, []
        while parts:
            self._returned = [parts.pop(0)]
            try:
                self._count()
            except BackendError:
                self._returned += parts
                raise
            except Exception as error:
                logger.exception("a part of a chord cannot be counted: %r", self._returned)
                lost, self._returned = self._returned, []
                for part in lost:
                    _try(self._not_counted, part, error)

    def _not_stored(self, stored: StoredResult, error: Exception) -> None:
        record = failure_record(stored.task_id, _unsendable("its result", error), done_at=clock.now())
        failed = StoredResult(
            stored.task_id,
            TaskState.FAILURE.value,
            record,
            stored.expires_at,
            stored.reply_to,
            stored.correlation_id,
        )
        self._results.store([failed])

    def _not_counted(self, part: Returned, error: Exception) -> None:
        self._queue_end(self._chords.give_up(part, _unsendable("a part of the chord", error)))

    def _not_sent(self, message: Outgoing, error: Exception) -> None:
        if message.task_id:
            record = failure_record(message.task_id, _unsendable("its message", error), done_at=clock.now())
            self._results.store([StoredResult(message.task_id, TaskState.FAILURE.value, record, None)])

    def _writing(self) -> object | None:
        """Return the writing of the results if it can go with the settlements: nothing comes between."""
        records = self._records + self._last_words
        between = self._begins or self._returned or self._messages or self._ended
        if self._portable is None or not records or between:
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
            self._records = []
            self._last_words = []
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

    def _queue_end(self, ended: ChordEnd) -> None:
        self._ended.append(ended)
        self._begins += ended.begins
        self._messages += ended.messages
        expires_at = clock.now() + self._expires_s if self._expires_s else None
        for task_id in ended.given_up:
            record = record_for(ended.record, task_id)
            self._last_words.append(StoredResult(task_id, TaskState.FAILURE.value, record, expires_at))

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


def _each(
    queue: list[Item],
    send: Callable[[Item], object],
    instead: Callable[[Item, Exception], object] | None = None,
) -> None:
    """Send all items, each alone; call ``instead`` for one that cannot be sent for an unforeseen reason.

    Raises: ``BackendError``; unsent items stay in the queue.
    """
    while queue:
        try:
            send(queue[0])
        except BackendError:
            raise
        except Exception as error:
            logger.exception("cannot be sent: %r", queue[0])
            if instead is not None:
                _try(instead, queue[0], error)
        del queue[0]


def _try(instead: Callable[[Item, Exception], object], item: Item, error: Exception) -> None:
    try:
        instead(item, error)
    except BackendError:
        raise
    except Exception:
        logger.exception("nor can anybody be told of that")


def _parked(settlement: Settlement, error: Exception) -> Dead:
    reason = f"its settlement cannot be sent ({type(settlement).__name__}: {error})"
    return Dead(settlement.tag, " ".join(reason.split())[:200])


def _unsendable(what: str, error: Exception) -> WorkerLostError:
    return WorkerLostError(f"{what} cannot be sent: {type(error).__name__}: {error}")
