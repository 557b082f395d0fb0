"""Send each outcome alone, after they could not be sent together for a reason that nobody foresaw.

Otherwise the one outcome that no store can take would end this worker, and the next one.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

from taskd.base import clock
from taskd.base.errors import BackendError
from taskd.brokers.base import Intake, Keeping, Publisher
from taskd.consumer.settling.chord_parts import count_parts
from taskd.consumer.settling.chords import Chords, Returned
from taskd.consumer.settling.settling import Settling
from taskd.protocol.delivery import Dead, Outgoing, Settlement
from taskd.protocol.exceptions import WorkerLostError
from taskd.protocol.results import TaskState, failure_record
from taskd.results.base import ResultStore, StoredResult

logger = logging.getLogger(__name__)

Item = TypeVar("Item")


class Singly:
    """One sending, item by item; a client of an unsendable item is told."""

    def __init__(self, queues: Settling, results: ResultStore, publisher: Publisher, chords: Chords) -> None:
        self._queues = queues
        self._results = results
        self._publisher = publisher
        self._chords = chords

    def send(self, intake: Intake) -> Sequence[int]:
        """Send everything, in the order of ``flush``; return the refused tags.

        Raises: ``BackendError``; unsent items stay queued.
        """
        queues = self._queues
        refused: list[int] = []
        for records in (queues.records, queues.last_words):
            _each(records, lambda each: self._results.store([each]), self._not_stored)
        _each(queues.begins, self._chords.begin)
        self._count_singly()
        for records in (queues.records, queues.last_words):
            _each(records, lambda each: self._results.store([each]), self._not_stored)
        _each(queues.begins, self._chords.begin)
        _each(queues.messages, lambda each: self._publisher.publish([each]), self._not_sent)
        _each(queues.failures, lambda each: cast("Keeping", intake).keep([each]))
        _each(
            queues.settlements,
            lambda each: refused.extend(intake.settle([each])),
            lambda each, error: refused.extend(intake.settle([_parked(each, error)])),
        )
        _each(queues.ended, self._chords.finish)
        return refused

    def _count_singly(self) -> None:
        returned = self._queues.returned
        waiting = returned.copy()
        while waiting:
            returned[:] = [waiting.pop(0)]
            try:
                count_parts(self._queues, self._chords)
            except BackendError:
                returned += waiting
                raise
            except Exception as error:
                logger.exception("a part of a chord cannot be counted: %r", returned)
                lost = returned.copy()
                returned.clear()
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
        self._queues.end(self._chords.give_up(part, _unsendable("a part of the chord", error)))

    def _not_sent(self, message: Outgoing, error: Exception) -> None:
        if message.task_id:
            record = failure_record(message.task_id, _unsendable("its message", error), done_at=clock.now())
            self._results.store([StoredResult(message.task_id, TaskState.FAILURE.value, record, None)])


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
