"""Send what ``settling`` has queued, in batches and in an order that loses nothing.

A result is stored before its message is acknowledged, or in the same step where both lie in one Redis.  A
crash in between runs the task once more, never loses it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import cast

from taskd.base.errors import BackendError
from taskd.base.moment import Moment
from taskd.brokers.base import Carrying, Intake, Keeping, Publisher
from taskd.consumer.moments import Settled
from taskd.consumer.settling.chord_parts import count_parts
from taskd.consumer.settling.chords import Chords
from taskd.consumer.settling.settling import Settling
from taskd.consumer.settling.singly import Singly
from taskd.results.base import Portable, ResultStore

logger = logging.getLogger(__name__)


class Flush:
    """The way out of a worker.  For the loop's thread."""

    def __init__(
        self,
        queues: Settling,
        results: ResultStore,
        publisher: Publisher,
        chords: Chords,
        settled: Moment[Settled],
        *,
        in_one_step: bool = False,
    ) -> None:
        """``in_one_step``: the broker writes the results as it settles; the kinds of both can do that."""
        self._queues = queues
        self._results = results
        self._portable = cast("Portable", results) if in_one_step else None
        self._publisher = publisher
        self._chords = chords
        self._settled = settled

    def send(self, intake: Intake) -> Sequence[int]:
        """Send everything; return the broker tags whose settlement was refused.

        Raises: ``BackendError``; unsent items stay queued.  Any other exception of a store or broker costs
        the one item: see ``singly``.
        """
        settlements = tuple(self._queues.settlements) if self._settled.heard_by else ()
        try:
            refused = self._send_together(intake)
        except BackendError:
            raise
        except Exception:
            logger.exception(
                "outcomes=%d cannot be sent together; sending them one by one", len(self._queues)
            )
            refused = Singly(self._queues, self._results, self._publisher, self._chords).send(intake)
        self._queues.all_sent()
        if refused:
            logger.warning("settlements_refused=%d: their lease was taken over", len(refused))
        if settlements:
            self._settled.publish(Settled(settlements, refused))
        return refused

    def _send_together(self, intake: Intake) -> Sequence[int]:
        queues = self._queues
        refused: Sequence[int] = ()
        writing = self._writing()
        if writing is not None:
            refused = cast("Carrying", intake).settle_after(writing, queues.settlements)
            queues.records.clear()
            queues.last_words.clear()
            queues.settlements.clear()
        else:
            self._send_what_comes_first(intake)
            if queues.settlements:
                refused = intake.settle(queues.settlements)
                queues.settlements.clear()
        return refused

    def _writing(self) -> object | None:
        """Return the writing of the results if it can go with the settlements: nothing comes between."""
        queues = self._queues
        records = queues.records + queues.last_words
        between = queues.begins or queues.returned or queues.messages or queues.failures or queues.ended
        if self._portable is None or not records or between:
            return None
        return self._portable.writing(records)

    def _send_what_comes_first(self, intake: Intake) -> None:
        queues = self._queues
        self._store()
        if queues.returned:
            count_parts(queues, self._chords)
            self._store()
        if queues.messages:
            self._publisher.publish(queues.messages)
            queues.messages.clear()
        if queues.failures:
            cast("Keeping", intake).keep(queues.failures)
            queues.failures.clear()
        while queues.ended:
            self._chords.finish(queues.ended[0])
            del queues.ended[0]

    def _store(self) -> None:
        queues = self._queues
        if queues.records or queues.last_words:
            self._results.store(queues.records + queues.last_words)
            queues.records.clear()
            queues.last_words.clear()
        while queues.begins:
            self._chords.begin(queues.begins[0])
            del queues.begins[0]
