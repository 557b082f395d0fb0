"""Collect settlements and results, and send them in batches.

A result is stored before its message is acknowledged: a crash in between runs the task once more,
never loses it.  What cannot be sent stays here and is sent again, or is void when the lease was lost.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from taskd import clock
from taskd.brokers.base import Publisher
from taskd.brokers.intake import Delivery, Intake, Outgoing, Settlement
from taskd.consumer.endings import Ending
from taskd.protocol.results import record_for
from taskd.results.base import ResultStore, StoredResult

logger = logging.getLogger(__name__)

#: A batch this large is sent without waiting for more.
FULL_BATCH = 256
#: The oldest outcome waits at most this long while other tasks run.
LINGER_S = 0.002


class Settling:
    """The unsent outcomes of one worker.

    ``first_at`` is the monotonic time of the oldest one, 0 when nothing waits.
    """

    def __init__(self, results: ResultStore, publisher: Publisher, result_expires_s: float) -> None:
        self._results = results
        self._publisher = publisher
        self._expires_s = result_expires_s
        self._settlements: list[Settlement] = []
        #: Results whose message another worker runs again should this generation be lost, and the others.
        self._records: list[StoredResult] = []
        self._last_words: list[StoredResult] = []
        self._messages: list[Outgoing] = []
        self.first_at = 0.0

    def __len__(self) -> int:
        records = len(self._records) + len(self._last_words)
        return len(self._settlements) + records + len(self._messages)

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
        if not self.first_at:
            self.first_at = clock.monotonic()

    def answer(self, ending: Ending, sender: Delivery, given_up: Sequence[str], **how: bool) -> None:
        """Queue the result of a task whose end the worker has decided; else as ``keep_result``."""
        self.keep_result(ending.task_id, ending.state, ending.record, given_up, sender=sender, **how)

    def publish(self, message: Outgoing) -> None:
        """Queue a message: the retry of a task that was acknowledged early."""
        self._messages.append(message)
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
        if self._records or self._last_words:
            self._results.store(self._records + self._last_words)
            self._records, self._last_words = [], []
        if self._messages:
            self._publisher.publish(self._messages)
            self._messages = []
        refused: Sequence[int] = ()
        if self._settlements:
            refused = intake.settle(self._settlements)
            self._settlements = []
        self.first_at = 0.0
        return refused

    def void(self) -> int:
        """Drop the settlements of a lost generation, and the results that go with them; return how many.

        Their messages belong to another worker now, which will run them and store its own results.
        """
        count = len(self._settlements)
        self._settlements = []
        self._records = []
        self.first_at = clock.monotonic() if self._messages or self._last_words else 0.0
        return count
