"""Tell the app of ends that the worker decides: on a slot of the pool, where user code may run.

An app of taskd's own has hooks that hear of them, whatever becomes of that.  An app that *answers*, such as a
Celery app, stores results, counts chords and calls errbacks by itself: its message is settled only when
it has taken the end.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

import msgspec

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.errors import PoolError
from taskd.base.loop import Loop
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.running.work import Work
from taskd.pools.base import Done, Outcome
from taskd.protocol.delivery import Delay, Delivery, Requeue, Settlement
from taskd.protocol.execution import Assignment, DecidedEnd, End, decode_reply, encode
from taskd.protocol.message import TaskHeaders

logger = logging.getLogger(__name__)

#: How long the app may take for one end.
LIMIT_S = 10.0
#: The waits between attempts at an end of which no message tells any more.
_AGAIN = Backoff(base_s=1.0, max_s=60.0, floor_s=1.0)
#: A message that did not run goes back to its broker for this time when the app cannot take its end.
_PUT_BACK_S = 10.0

Settle = Callable[[Settlement], None]


class Handed(msgspec.Struct, eq=False):
    """One end on its way to an app that answers, and what happens to its message when it has arrived."""

    delivery: Delivery
    headers: TaskHeaders
    end: DecidedEnd
    settle: Settle
    #: None where nothing is left to settle: the message was acknowledged before it ran.
    settlement: Settlement | None
    #: It counts as a run: its message must not lead to another one.
    ran: bool
    attempts: int = 0


class AppEnds:
    """The way of ends to one worker's app.  For the loop's thread."""

    def __init__(self, loop: Loop, work: Work, orders: Orders) -> None:
        self._loop = loop
        self._work = work
        self._orders = orders
        self._open: set[Handed] = set()

    def __len__(self) -> int:
        """Return how many messages wait for the app to take their ends."""
        return len(self._open)

    @property
    def app_answers(self) -> bool:
        """Whether ends must be handed over, in place of being stored here."""
        return self._work.needs.answers

    # -- an app that answers -------------------------------------------------------------------

    def hand_over(self, handed: Handed) -> None:
        """Have the app take an end; its message is settled when it has."""
        self._open.add(handed)
        self._try(handed)

    def _try(self, handed: Handed) -> None:
        if handed not in self._open:
            return
        handed.attempts += 1
        payload = encode(Assignment(handed.delivery, handed.end))
        try:
            self._work.errands.run(payload, LIMIT_S, partial(self._answered, handed))
        except PoolError as error:
            self._failed(handed, str(error))

    def _answered(self, handed: Handed, outcome: Outcome) -> None:
        if handed not in self._open:
            return
        if not isinstance(outcome, Done):
            self._failed(handed, f"the process that was to store it: {type(outcome).__name__}")
            return
        reply = decode_reply(outcome.reply)
        if reply.end is not End.IGNORED:
            self._failed(handed, reply.text)
            return
        self._open.discard(handed)
        if handed.settlement is not None:
            handed.settle(handed.settlement)

    def _failed(self, handed: Handed, why: str) -> None:
        headers = handed.headers
        waits_in_broker = handed.settlement is not None and not handed.ran
        wait_s = _PUT_BACK_S if waits_in_broker else _AGAIN.delay_s(handed.attempts)
        logger.error(
            "task=%s id=%s its end %s is not stored by the app, next try in %.0f s: %s",
            *(headers.task, headers.id, handed.end.state, wait_s, why),
        )
        if waits_in_broker:
            self._open.discard(handed)
            handed.settle(Delay(handed.delivery.tag, clock.now() + wait_s))
        else:
            self._loop.call_later(wait_s, partial(self._try, handed))

    def give_back(self) -> None:
        """Put back what the app has not taken: the worker ends, and the next one decides anew."""
        for handed in self._open:
            headers = handed.headers
            fate = "lost: it was acknowledged early" if handed.settlement is None else "requeued"
            logger.warning(
                "task=%s id=%s its end %s was not stored; %s",
                *(headers.task, headers.id, handed.end.state, fate),
            )
            if handed.settlement is not None:
                handed.settle(Requeue(handed.delivery.tag, started=handed.ran))
        self._open.clear()

    # -- an app with hooks ---------------------------------------------------------------------

    def tell(self, delivery: Delivery, name: str, end: DecidedEnd) -> None:
        """Have the hooks called with the end of a run as soon as a slot is free; does not wait."""
        if not self._work.needs.hears_ends:
            return

        def failed(how: object) -> None:
            logger.error("task=%s id=%s hooks did not hear of its end: %s", name, end.task_id, how)

        def ended(outcome: Outcome) -> None:
            if not isinstance(outcome, Done):
                failed(type(outcome).__name__)

        if self._orders.shutdown is Shutdown.COLD:
            logger.warning("task=%s id=%s hooks do not hear of its end any more", name, end.task_id)
            return
        try:
            self._work.errands.run(encode(Assignment(delivery, end)), LIMIT_S, ended)
        except PoolError as error:
            failed(error)
