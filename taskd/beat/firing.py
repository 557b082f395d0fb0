"""Fire what is due: decide, send in one trip, note what was decided.

Nothing is noted before it was sent.  A trip that fails leaves everything undecided, so that the next attempt
decides anew, by each entry's rule for missed runs: that is all that keeping an occurrence takes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from taskd.base import clock
from taskd.base.errors import BackendError, SerializationError
from taskd.beat.book import Book, EntryRow
from taskd.beat.catch_up import CatchUp, Missed, Skipped, plan
from taskd.beat.messages import beat_message, occurrence_id, request_id
from taskd.beat.overlap import OverlapRule, OverlapVerdict, admit
from taskd.beat.stores.base import Decision, Mark, RunOutcome, RunRequest
from taskd.brokers.once import OncePublisher
from taskd.protocol.delivery import Outgoing

#: Messages in one transaction; the next thousand waits for the next turn of the loop.
BATCH = 1000
#: How often beat looks whether the run is over that another one waits for.
LOOK_S = 0.5

_REASONS = {
    Missed.SKIP: "missed",
    Missed.LAST: "missed; a later run took its place",
    Missed.ALL: "missed, more than max_missed",
}

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Run:
    """A message to send, and the decision that it will be."""

    row: EntryRow
    due_at: float
    message: Outgoing
    #: The cause of the run: the time, or an operator's request.
    due: _Due | None = None
    request: RunRequest | None = None


@dataclass(slots=True)
class _Due:
    """One entry that is due; only runs that are on their way are still to be decided."""

    row: EntryRow
    plan: CatchUp
    admission: OverlapVerdict = field(default_factory=OverlapVerdict)
    paused: Skipped | None = None
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Fired:
    """The outcome of one trip; ``done`` are requests, ``more`` when there was too much for one trip."""

    decisions: Sequence[Decision]
    done: Collection[int]
    sent: int
    more: bool
    #: Entries of which a run was sent by their schedule, and not on request.
    ran: Sequence[str] = ()


class Firing:
    """The step from what is due to what is decided."""

    def __init__(self, book: Book, now: Callable[[], float]) -> None:
        self._book = book
        self._now = now
        #: Texts about entries that were parked.
        self._parked: list[Decision] = []

    def fire(self, publisher: OncePublisher, *, until: float, delayed_by: str = "") -> Fired:
        """Send what is due and move past it; ``delayed_by`` says what had kept it, for the history.

        Raises: ``BackendError``; then nothing is decided.
        """
        now = self._now()
        dues, more = self._collect(now)
        requests = [each for each in self._book.requests.values() if each.name in self._book.rows]
        try:
            self._admit(dues, publisher)
            runs = [*self._runs(dues), *self._asked(requests)]
            runs, refused = _publish(publisher, runs, until)
        except BaseException:
            for due in dues:
                self._book.agenda.put(due.row.mark.name, due.row.first_at)
            raise
        decisions = self._decide(dues, runs, refused, self._now(), delayed_by)
        done = list(self._book.requests)  # requests for entries that are gone, too
        self._book.requests.clear()
        ran = [run.row.mark.name for run in runs if run.request is None]
        return Fired(decisions, done, len(runs) - len(refused), more, ran)

    # -- deciding --------------------------------------------------------------------------------

    def _collect(self, now: float) -> tuple[list[_Due], bool]:
        dues: list[_Due] = []
        count = 0
        while count < BATCH:
            name = self._book.agenda.take_due(now)
            if name is None:
                return dues, False
            row = self._book.rows[name]
            with self._barrier(row):
                dues.append(self._plan(row, now))
                count += max(len(dues[-1].plan.fire) - 1, 0)
            count += 1
        return dues, True

    def _plan(self, row: EntryRow, now: float) -> _Due:
        first_at = row.first_at
        paused = None
        pause = row.listed.pause
        if pause is not None and pause.until_at is not None and first_at <= min(pause.until_at, now):
            over = plan(row.schedule, first_at, min(pause.until_at, now), row.rule)
            count = len(over.fire) + (over.skipped.count if over.skipped else 0)
            paused = Skipped(first_at, pause.until_at, count, over.skipped is None or over.skipped.exact)
            first_at = over.following
        if first_at > now:
            return _Due(row, CatchUp((), None, first_at), paused=paused)
        # A run that waits for the run before it is not missed: one of them runs in any case.
        rule = (
            replace(row.rule, missed=Missed.LAST)
            if row.waits and row.rule.missed is Missed.SKIP
            else row.rule
        )
        return _Due(row, plan(row.schedule, first_at, now, rule), paused=paused)

    def _admit(self, dues: Sequence[_Due], publisher: OncePublisher) -> None:
        """Settle overlaps, by one question to the broker."""
        watched = [due.row for due in dues if due.row.overlap is not OverlapRule.ALLOW]
        active: Collection[str] | None = frozenset()
        if watched:
            active = publisher.active([row.mark.task_id for row in watched if row.mark.task_id])
        for due in dues:
            former = None if active is None else due.row.mark.task_id in active
            with self._barrier(due.row):
                due.admission = admit(due.row.overlap, due.plan.fire, former_is_active=former)

    def _runs(self, dues: Sequence[_Due]) -> Iterator[_Run]:
        for due in dues:
            entry = due.row.listed.entry
            try:
                for at in due.admission.send:
                    yield _Run(due.row, at, beat_message(entry, at, occurrence_id(entry.name, at)), due=due)
            except SerializationError as error:
                due.failure = str(error)
            except Exception as error:  # the barrier of entries
                logger.exception("run cannot be built entry=%s", entry.name)
                due.failure = f"{type(error).__name__}: {error}"

    def _asked(self, requests: Sequence[RunRequest]) -> Iterator[_Run]:
        for request in requests:
            row = self._book.rows[request.name]
            task_id = request_id(request.name, request.number, request.requested_at)
            try:
                message = beat_message(row.listed.entry, request.requested_at, task_id)
            except Exception as error:  # noqa: BLE001 - the barrier of entries
                logger.error("a run on request cannot be sent entry=%s error=%s", request.name, error)
                continue
            yield _Run(row, request.requested_at, message, request=request)

    # -- noting ----------------------------------------------------------------------------------

    def _decide(
        self,
        dues: Sequence[_Due],
        runs: Sequence[_Run],
        refused: Collection[str],
        now: float,
        delayed_by: str,
    ) -> list[Decision]:
        decisions: list[Decision] = []
        for due in dues:
            with self._barrier(due.row):
                decisions += self._without_run(due, now)
        for run in runs:
            with self._barrier(run.row):
                again = run.message.task_id in refused
                decisions.append(self._sent(run, now, again=again, delayed_by=delayed_by))
        for due in dues:
            if due.row.mark.name not in self._book.unusable:
                with self._barrier(due.row):
                    self._plan_next(due, now)
        parked, self._parked = self._parked, []
        return decisions + parked

    @contextmanager
    def _barrier(self, row: EntryRow) -> Iterator[None]:
        """Take an entry out on which beat itself fails, and say so in its history; the others go on."""
        try:
            yield
        except Exception as error:
            logger.exception("beat failed on entry=%s", row.mark.name)
            now = self._now()
            mark = replace(row.mark, failed=row.mark.failed + 1, decisions=row.mark.decisions + 1)
            self._book.settle(mark.name, mark)
            self._book.park(mark.name, error)
            reason = f"parked: {self._book.unusable[mark.name]}"
            self._parked.append(Decision(mark.name, mark.decisions, now, now, RunOutcome.FAILED, reason))

    def _without_run(self, due: _Due, now: float) -> Iterator[Decision]:
        row = due.row
        if due.paused is not None:
            yield self._skip(row, due.paused, "paused", now)
        if due.plan.skipped is not None:
            yield self._skip(row, due.plan.skipped, _REASONS[row.rule.missed], now)
        if due.admission.drop:
            drop = due.admission.drop
            skipped = Skipped(drop[0], drop[-1], len(drop), exact=True)
            yield self._skip(row, skipped, "the former run is still on its way", now)
        if due.failure:
            at = due.admission.send[0]
            mark = replace(row.mark, failed=row.mark.failed + 1, decisions=row.mark.decisions + 1)
            self._book.settle(mark.name, mark)
            logger.error("run cannot be sent entry=%s due=%s error=%s", mark.name, clock.iso(at), due.failure)
            yield Decision(mark.name, mark.decisions, at, now, RunOutcome.FAILED, due.failure)

    def _skip(self, row: EntryRow, skipped: Skipped, reason: str, now: float) -> Decision:
        mark = replace(row.mark, skipped=row.mark.skipped + skipped.count, decisions=row.mark.decisions + 1)
        self._book.settle(mark.name, mark)
        logger.warning(
            "skipped entry=%s due=%s count=%d reason=%s",
            *(mark.name, clock.iso(skipped.first_at), skipped.count, reason),
        )
        return Decision(
            *(mark.name, mark.decisions, skipped.first_at, now, RunOutcome.SKIPPED, reason),
            count=skipped.count,
            exact=skipped.exact,
        )

    def _sent(self, run: _Run, now: float, *, again: bool, delayed_by: str) -> Decision:
        former = run.row.mark
        task_id = run.message.task_id
        late_s = now - run.due_at
        mark = replace(
            former,
            task_id=task_id,
            fired=former.fired + 1,
            decisions=former.decisions + 1,
            last_due_at=run.due_at,
            last_late_s=late_s,
        )
        self._book.settle(mark.name, mark)
        outcome = RunOutcome.ALREADY_SENT if again else RunOutcome.SENT
        reason = f"on request of {run.request.by}" if run.request is not None else delayed_by
        logger.info(
            "%s entry=%s task=%s id=%s due=%s late_s=%.3f",
            *(outcome.value, mark.name, run.row.listed.entry.task, task_id, clock.iso(run.due_at), late_s),
        )
        return Decision(mark.name, mark.decisions, run.due_at, now, outcome, reason, task_id)

    def _plan_next(self, due: _Due, now: float) -> None:
        """Move past decided runs; a run that waits for the one before it stays, to be looked at again."""
        row = due.row
        waiting = due.admission.wait
        row.waits = bool(waiting)
        if waiting:
            before_at = _last_before(row, due, waiting[0])
            next_at = now + LOOK_S
        else:
            before_at = _last_decided(row, due)
            next_at = due.plan.following
        self._book.settle(row.mark.name, replace(row.mark, decided_at=max(before_at, row.mark.decided_at)))
        self._book.agenda.put(row.mark.name, next_at)


def _publish(publisher: OncePublisher, runs: list[_Run], until: float) -> tuple[list[_Run], Collection[str]]:
    """Send runs in one trip; return those that were sent, and the ids that had been sent before.

    A message on which the broker's client itself fails costs its own run: it is told as a failure.
    Raises: ``BackendError``.
    """
    if not runs:
        return runs, ()
    try:
        return runs, publisher.publish_once([run.message for run in runs], until=until)
    except BackendError:
        raise
    except Exception:
        logger.exception("runs=%d cannot be sent together; sending them one by one", len(runs))
    sent: list[_Run] = []
    refused: set[str] = set()
    for run in runs:
        try:
            refused.update(publisher.publish_once([run.message], until=until))
        except BackendError:
            raise
        except Exception as error:
            logger.exception("run cannot be sent entry=%s", run.row.mark.name)
            if run.due is not None:
                run.due.failure = f"{type(error).__name__}: {error}"
        else:
            sent.append(run)
    return sent, refused


def _last_decided(row: EntryRow, due: _Due) -> float:
    ends = [row.mark.decided_at, *due.plan.fire]
    if due.plan.skipped is not None:
        ends.append(due.plan.skipped.last_at)
    if due.paused is not None:
        ends.append(due.paused.last_at)
    return max(ends)


def _last_before(row: EntryRow, due: _Due, waiting_at: float) -> float:
    ends = [at for at in due.plan.fire if at < waiting_at]
    if due.plan.skipped is not None and due.plan.skipped.last_at < waiting_at:
        ends.append(due.plan.skipped.last_at)
    if due.paused is not None:
        ends.append(due.paused.last_at)
    return max(ends, default=row.mark.decided_at)


def marks_of(book: Book) -> list[Mark]:
    """Return the marks that the store does not have yet."""
    return [book.rows[name].mark for name in sorted(book.dirty) if name in book.rows]
