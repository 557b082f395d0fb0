"""Tell the app of ends that the worker decides: on a slot of the pool, where user code may run.

An app of taskd's own has hooks that hear of them, whatever becomes of that.  An app that *answers*, such as a
Celery app, stores results, counts chords and calls errbacks by itself: its message is settled only when
it has taken the end.  While it takes none, one end at a time asks for all (``probing``).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.errors import PoolError
from taskd.base.exhaustive import assert_never
from taskd.base.loop import Loop, LoopTimer
from taskd.base.plural import counted
from taskd.consumer.orders import Orders, Shutdown
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.probing import Probing, Turn, Way
from taskd.consumer.running.work import Work
from taskd.pools.base import Cancelled, Done, Outcome
from taskd.protocol.delivery import Ack, Dead, Delay, Delivery, LetterKind, Requeue, Settlement
from taskd.protocol.execution import Assignment, DecidedEnd, End, decode_reply, encode
from taskd.protocol.message import TaskHeaders
from taskd.protocol.status import Trouble

logger = logging.getLogger(__name__)

#: How long the app may take for one end: then it is asked to leave off, and at last its process is ended.
LIMIT_S = 10.0
_LAST_S = 30.0
#: The waits between attempts at an end that the app does not take though it takes others.
_AGAIN = Backoff(base_s=1.0, max_s=60.0, floor_s=1.0)
#: The waits between the probes of a worker whose app takes no ends.
_PROBES = Backoff(base_s=1.0, max_s=10.0, floor_s=1.0)
#: A message that did not run goes back to its broker for this time when the app cannot take its end.
_PUT_BACK_S = 10.0
#: An end that has cost this many slots is not tried again.
_MOST_LOST = 3
_LONGEST_REASON = 200

Settle = Callable[[Settlement], None]


class Handed(msgspec.Struct, eq=False):
    """One end on its way to an app that answers, and what happens to its message when it has arrived."""

    delivery: Delivery
    headers: TaskHeaders
    end: DecidedEnd
    settle: Settle
    #: None where nothing is left to settle: the message was acknowledged before it ran.
    settlement: Ack | Dead | None
    #: The run that has ended so; None for a message that did not run.
    run: WorkerRequest | None = None
    #: When the worker handed it over (monotonic).
    since: float = msgspec.field(default_factory=clock.monotonic)
    #: Why the last attempt brought nothing; empty before the first has ended.
    why: str = ""
    attempts: int = 0
    #: How many of the attempts failed though the app took other ends between them.
    own_faults: int = 0
    #: How many ends the app had taken when the last attempt failed.
    taken_before: int | None = None
    #: How many of them ended without an answer: a process died, or an error of the executor.
    lost: int = 0

    @property
    def since_at(self) -> float:
        """The moment since which it is open, by the wall clock."""
        return clock.now() - (clock.monotonic() - self.since)

    @property
    def stays_in_broker(self) -> bool:
        """Whether the broker may keep the message meanwhile: it has not led to a run."""
        return self.run is None and self.settlement is not None


class AppEnds:
    """The way of ends to one worker's app.  For the loop's thread."""

    def __init__(self, loop: Loop, work: Work, orders: Orders) -> None:
        self._loop = loop
        self._work = work
        self._orders = orders
        self._open: set[Handed] = set()
        #: The ends that are in the pool: as many as it has slots, for they may all fail.
        self._under_way: set[Handed] = set()
        #: The ends that wait for their turn, or for the probe's answer, in order.
        self._waiting: dict[Handed, None] = {}
        #: Decides which end asks for all while the app takes none.
        self.probing = Probing(_PROBES)
        self._probe: Handed | None = None
        self._timer: LoopTimer | None = None
        #: Why the way was shut, or stays so.
        self._why = ""

    def __len__(self) -> int:
        """Return how many messages wait for the app to take their ends."""
        return len(self._open)

    @property
    def app_answers(self) -> bool:
        """Whether ends must be handed over, in place of being stored here."""
        return self._work.needs.answers

    def runs(self) -> Sequence[WorkerRequest]:
        """Return the runs of which the app has not taken the end: their messages may come again meanwhile."""
        return [handed.run for handed in self._open if handed.run is not None]

    def open_ends(self) -> Sequence[tuple[WorkerRequest, Handed]]:
        """Return the runs of which the app has not taken the end, the longest open first."""
        found = [(handed.run, handed) for handed in self._open if handed.run is not None]
        return sorted(found, key=lambda each: each[1].since)

    def trouble(self) -> Trouble | None:
        """Return what an operator should know while ends of runs are tried again."""
        waiting = [handed for _, handed in self.open_ends() if self._is_held_up(handed)]
        if not waiting:
            return None
        text = (
            f"the app has not stored {counted(len(waiting), 'end of a task', 'ends of tasks')}: "
            f"{self.reason(waiting[0])}; bring the app's result backend back, for the worker cannot end "
            "before (taskctl inspect active lists the tasks)"
        )
        return Trouble(text, waiting[0].since_at)

    def reason(self, handed: Handed) -> str:
        """Return why an end is open."""
        return (handed.why or self._why) if self._is_held_up(handed) else "it waits for a free slot"

    def _is_held_up(self, handed: Handed) -> bool:
        return bool(handed.why) or self.probing.way is not Way.OPEN

    # -- an app that answers -------------------------------------------------------------------

    def hand_over(self, handed: Handed) -> None:
        """Have the app take an end; its message is settled when it has."""
        self._open.add(handed)
        self._try(handed)

    def _try(self, handed: Handed) -> None:
        if handed not in self._open:
            return
        turn = self.probing.turn(clock.monotonic())
        match turn:
            case Turn.GO:
                self._waiting[handed] = None
                self._fill()
            case Turn.PROBE:
                self._probe = handed
                self._go(handed)
            case Turn.WAIT if handed.stays_in_broker:
                self._put_back(handed)
            case Turn.WAIT:
                self._wait(handed)
            case _:
                assert_never(turn)

    def _go(self, handed: Handed) -> None:
        handed.attempts += 1
        payload = encode(Assignment(handed.delivery, handed.end))
        self._under_way.add(handed)
        try:
            self._work.errands.run(payload, _LAST_S, partial(self._answered, handed), LIMIT_S)
        except PoolError as error:
            self._under_way.discard(handed)
            self._told_nothing(handed)
            self._not_now(handed, str(error))

    def _fill(self) -> None:
        """Have as many go as there are slots, while the app takes ends."""
        room = max(1, self._work.pool.slots)
        while self.probing.way is Way.OPEN and self._waiting and len(self._under_way) < room:
            handed = next(iter(self._waiting))
            del self._waiting[handed]
            self._go(handed)

    def _answered(self, handed: Handed, outcome: Outcome) -> None:
        self._under_way.discard(handed)
        if handed in self._open:
            self._take(handed, outcome)
        self._fill()

    def _take(self, handed: Handed, outcome: Outcome) -> None:
        match outcome:
            case Done():
                self._take_reply(handed, outcome.reply)
            case Cancelled(started=False):
                handed.attempts -= 1
                self._told_nothing(handed)
                self._loop.call_soon(partial(self._try, handed))
            case _:
                self._lost(handed, f"the slot that was to do it: {type(outcome).__name__}")

    def _take_reply(self, handed: Handed, encoded: bytes) -> None:
        try:
            reply = decode_reply(encoded)
        except msgspec.MsgspecError as error:
            self._lost(handed, f"its answer cannot be read: {error}")
            return
        match reply.end:
            case End.IGNORED:
                self._settle(handed, handed.settlement)
                self._took(handed)
            case End.REJECTED:
                self._told_nothing(handed)
                self._give_up(handed, reply.text)
            case End.REQUEUED:
                self._took(handed)
                self._not_now(handed, reply.text)
            case _:
                self._failed(handed, reply.text)

    def _settle(self, handed: Handed, settlement: Settlement | None) -> None:
        self._open.discard(handed)
        self._waiting.pop(handed, None)
        if settlement is not None:
            handed.settle(settlement)

    def _lost(self, handed: Handed, why: str) -> None:
        """Try again, unless the end itself seems to cost the slots."""
        self._told_nothing(handed)
        handed.lost += 1
        if handed.lost >= _MOST_LOST:
            self._give_up(handed, why)
        else:
            self._later(handed, why, _AGAIN.delay_s(handed.attempts))

    def _not_now(self, handed: Handed, why: str) -> None:
        """Try it again for itself: it is not the store that is away."""
        if handed.stays_in_broker:
            handed.why = why
            self._put_back(handed)
        else:
            handed.own_faults += 1
            self._later(handed, why, _AGAIN.delay_s(handed.own_faults))

    def _put_back(self, handed: Handed) -> None:
        """Leave the message to its broker for a while: it comes again, and its end is decided anew."""
        self._log(handed, handed.why or self._why, _PUT_BACK_S)
        self._settle(handed, Delay(handed.delivery.tag, clock.now() + _PUT_BACK_S))

    def _later(self, handed: Handed, why: str, wait_s: float) -> None:
        self._log(handed, why, wait_s)
        self._loop.call_later(wait_s, partial(self._try, handed))

    # -- while what keeps the app's results is away ------------------------------------------------

    def _failed(self, handed: Handed, why: str) -> None:
        """Have one end ask again as long as it takes, and let the others wait for its answer."""
        probing = self.probing
        if probing.is_fault_of_end(handed.taken_before):
            self._not_now(handed, why)
            return
        now = clock.monotonic()
        handed.why = why
        self._why = why
        handed.taken_before = probing.taken
        was_probe = self._end_probe(handed)
        if probing.failed(now, was_probe=was_probe):
            logger.error("the app does not take the ends of tasks; one at a time tries again: %s", why)
            for each in [each for each in self._waiting if each.stays_in_broker]:
                self._put_back(each)
        if handed.stays_in_broker:
            self._put_back(handed)
        else:
            self._log(handed, why, max(0.0, probing.next_at - now))
            self._waiting[handed] = None
        self._set_timer()

    def _wait(self, handed: Handed) -> None:
        if not handed.why:
            handed.why = self._why
            name = handed.headers.task
            logger.warning(
                "task=%s id=%s its end %s waits until the app takes others",
                *(name, handed.headers.id, handed.end.state),
            )
        self._waiting[handed] = None
        self._set_timer()

    def _set_timer(self) -> None:
        """Have a probe go when it is time, if an end waits that can be one."""
        if self._timer is None and self._waiting and self.probing.way is Way.SHUT:
            wait_s = max(0.0, self.probing.next_at - clock.monotonic())
            self._timer = self._loop.call_later(wait_s, self._next_probe)

    def _next_probe(self) -> None:
        self._timer = None
        if self._waiting and self.probing.way is Way.SHUT:
            # Another one each time: an end that can never be stored must not hold up the others.
            handed = min(self._waiting, key=lambda handed: handed.attempts)
            del self._waiting[handed]
            self._try(handed)

    def _end_probe(self, handed: Handed) -> bool:
        """Return whether it was the probe, of which there is none now."""
        was_probe = handed is self._probe
        if was_probe:
            self._probe = None
        return was_probe

    def _told_nothing(self, handed: Handed) -> None:
        if self._end_probe(handed):
            self.probing.told_nothing(clock.monotonic())
            self._set_timer()

    def _took(self, handed: Handed) -> None:
        self._end_probe(handed)
        if not self.probing.took():
            return
        self._probe = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        logger.info(
            "the app takes the ends of tasks again; %s now", counted(len(self._waiting), "goes", "go")
        )

    def _log(self, handed: Handed, why: str, wait_s: float) -> None:
        handed.why = why
        headers = handed.headers
        logger.error(
            "task=%s id=%s its end %s is not stored by the app, next try in %.0f s: %s",
            *(headers.task, headers.id, handed.end.state, wait_s, why),
        )

    def _give_up(self, handed: Handed, why: str) -> None:
        """Keep the message as a dead letter: the app does not take its end."""
        headers = handed.headers
        reason = f"its end {handed.end.state} is not taken by the app: {why}"
        fate = "acknowledged early" if handed.settlement is None else "dead-lettered"
        logger.error("task=%s id=%s %s; %s", headers.task, headers.id, reason, fate)
        settlement: Settlement | None = handed.settlement
        match settlement:
            case Ack():
                settlement = Dead(settlement.tag, reason[:_LONGEST_REASON])
            case Dead(kind=LetterKind.FAILED):
                settlement = Dead(settlement.tag, reason[:_LONGEST_REASON], settlement.evidence)
            case _:
                pass  # it is a dead letter, or has left none
        self._settle(handed, settlement)

    def give_back(self) -> None:
        """Put back what the app has not taken: the worker ends, and the next one decides anew."""
        for handed in list(self._open):
            headers = handed.headers
            settlement = handed.settlement
            fate = "lost: it was acknowledged early" if settlement is None else "requeued"
            logger.warning(
                "task=%s id=%s its end %s was not stored; %s",
                *(headers.task, headers.id, handed.end.state, fate),
            )
            if settlement is None:
                self._settle(handed, None)
                continue
            died = isinstance(settlement, Dead) and settlement.died
            ran = handed.run is not None
            self._settle(handed, Requeue(handed.delivery.tag, started=ran, died=died))

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
            self._work.errands.run(encode(Assignment(delivery, end)), _LAST_S, ended, LIMIT_S)
        except PoolError as error:
            failed(error)
