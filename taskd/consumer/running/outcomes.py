"""Turn each outcome of the pool into a settlement and, where somebody may ask, a result.

The outward half of the worker.  A decision of the parent on a task (child lost, hard limit,
terminated) goes the same way as the task's own decisions, so a waiting client is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import msgspec

from taskd.base import clock
from taskd.base.backoff import Backoff
from taskd.base.exhaustive import assert_never
from taskd.base.exit_codes import describe_signal
from taskd.base.safe_text import Block
from taskd.consumer.moments import Moments, RunEnded, RunLost
from taskd.consumer.request import Claims, Softened, WorkerRequest
from taskd.consumer.running.answering import Answering
from taskd.consumer.running.child_loss import Losses
from taskd.consumer.running.failing import Failing, shortened
from taskd.consumer.running.work import Work
from taskd.consumer.settling import decided_ends
from taskd.consumer.settling.settling import Settling
from taskd.pools.base import Broken, Cancelled, ChildLost, Done, Outcome, TimedOut
from taskd.protocol.delivery import Dead, Delay, Outgoing, Replace, Requeue
from taskd.protocol.execution import Cause, End, Reply, decode_reply

logger = logging.getLogger(__name__)

_FAILED = frozenset({End.FAILED, End.REJECTED})
#: The waits of a message whose end its app could not store, by how often it has come.
_UNSTORED = Backoff(base_s=5.0, max_s=600.0, floor_s=5.0)


class Outlet:
    """Where the outcomes of a pool go: to its consumer, once there is one.  Before nothing is submitted."""

    def __init__(self) -> None:
        self._take: Callable[[Sequence[Outcome]], None] | None = None

    def lead_to(self, take: Callable[[Sequence[Outcome]], None]) -> None:
        """Give outcomes to ``take`` from now on."""
        self._take = take

    def __call__(self, outcomes: Sequence[Outcome]) -> None:
        """Pass outcomes on."""
        if self._take is not None:
            self._take(outcomes)


class Outcomes:
    """Receives what the pool reports.  For the loop's thread."""

    def __init__(
        self,
        work: Work,
        claims: Claims,
        settling: Settling,
        answering: Answering,
        losses: Losses,
        *,
        failing: Failing,
        moments: Moments,
    ) -> None:
        self._work = work
        self._claims = claims
        self._settling = settling
        self._answering = answering
        self._losses = losses
        self._failing = failing
        self._moments = moments

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Queue the settlement and result of each; the event loop flushes them."""
        if self._moments.lost.heard_by:
            self._tell_losses(outcomes)
        requests = self._work.requests
        for outcome in outcomes:
            request = requests.pop(outcome.tag, None)
            if request is None:
                # An errand; or given back already, while the pool was ending it.
                self._work.errands.take(outcome)
                continue
            before = self._settling.mark()
            try:
                self._take(request, outcome)
            except Exception as error:  # noqa: BLE001 - the barrier of messages that have run
                self._settling.back_to(before)
                self._answering.park_run(request, error)
        self._answering.tell()

    def _tell_losses(self, outcomes: Sequence[Outcome]) -> None:
        """Publish what ended without a word of the executor."""
        lost = []
        for outcome in outcomes:
            request = None if type(outcome) is Done else self._work.requests.get(outcome.tag)
            if request is not None:
                lost.append(RunLost(request, outcome))
        if lost:
            self._moments.lost.publish(lost)

    def _take(self, request: WorkerRequest, outcome: Outcome) -> None:
        match outcome:
            case Done():
                self._done(request, outcome)
            case ChildLost():
                self._losses.take(request, outcome, acknowledged=request.acks_early)
            case TimedOut():
                self._timed_out(request, outcome)
            case Cancelled():
                self._cancelled(request, outcome)
            case Broken():
                self._broken(request, outcome)
            case _:
                assert_never(outcome)

    def _done(self, request: WorkerRequest, done: Done) -> None:
        reply = decode_reply(done.reply)
        if request.softened is not Softened.NO and self._ended_on_request(request, reply, done.runtime_s):
            return
        if reply.end is End.EXPIRED:
            self._expired(request)
            return
        if reply.end is End.UNSTORED and request.acks_early:
            self._hand_over_unstored(request, reply, done.runtime_s)
            return
        self._answering.note(
            # By position: one for each run.
            RunEnded(request.headers, request.options, reply, None, done.runtime_s, reply.end in _FAILED)
        )
        if reply.record and not reply.silent:
            self._settling.keep_result(
                request.headers.id,
                reply.state,
                reply.record,
                reply.given_up,
                sender=request.delivery,
                last_word=request.acks_early,
                place=reply.place,
            )
        if reply.parts or reply.begins:
            queue = request.delivery.queue
            early = request.acks_early
            self._settling.count(reply.parts, reply.record, request.headers, queue, last_word=early)
            self._settling.begin(reply.begins)
        match reply.end:
            case End.FAILED:
                self._failed(request, reply, done.runtime_s)
            case End.SUCCEEDED | End.IGNORED:
                self._finished(request, reply.callbacks)
            case End.RETRIED:
                self._retry(request, reply)
            case End.REQUEUED:
                self._requeue(request)
            case End.REJECTED:
                self._reject(request, reply, done.runtime_s)
            case End.UNSTORED:
                self._run_again_later(request, reply)
            case _:
                assert_never(reply.end)

    def _ended_on_request(self, request: WorkerRequest, reply: Reply, runtime_s: float | None) -> bool:
        """Settle a task that ended because it was asked to; False when it ended as it would have anyway."""
        headers = request.headers
        answering = self._answering
        match request.softened:
            case Softened.REVOKED if reply.softly or reply.end is End.RETRIED:
                logger.warning("task=%s id=%s ended on request", headers.task, headers.id)
                end = decided_ends.revoked(headers, Cause.TERMINATED)
                answering.answer(request, end, answering.ack_of(request), runtime_s=runtime_s)
                return True
            case Softened.SHUTDOWN if reply.softly and not request.acks_early:
                logger.warning("task=%s id=%s ended for the shutdown; requeued", headers.task, headers.id)
                answering.note(RunEnded(headers, request.options, runtime_s=runtime_s))
                answering.settle(request, Requeue(request.delivery.tag))
                return True
        return False

    def _failed(self, request: WorkerRequest, reply: Reply, runtime_s: float) -> None:
        """Keep the message of a task that failed for good, and send what follows."""
        if request.options.dead_when_failed and not request.acks_early:
            evidence = msgspec.json.encode({"traceback": reply.traceback})
            self._answering.settle(request, Dead(request.delivery.tag, reply.text, evidence))
            return
        if any(message.task_id == request.headers.id for message in reply.callbacks):
            self._finished(request, reply.callbacks)  # its next run is among them
            return
        settlement = self._failing.settlement(request, reply.text, _known(reply, runtime_s))
        if not isinstance(settlement, Dead):
            self._finished(request, reply.callbacks)
            return
        if self._answering.is_last_word(request):
            for message in reply.callbacks:
                self._settling.publish(message)
        self._answering.settle(request, settlement)

    def _finished(self, request: WorkerRequest, callbacks: Sequence[Outgoing]) -> None:
        """Acknowledge, and send what follows the task; a single message in the same transaction."""
        if len(callbacks) == 1 and not request.acks_early:
            self._answering.settle(request, Replace(request.delivery.tag, callbacks[0]))
            return
        if self._answering.is_last_word(request):
            for message in callbacks:
                self._settling.publish(message)
        self._answering.ack(request)

    def _retry(self, request: WorkerRequest, reply: Reply) -> None:
        message = reply.retry
        logger.info("task=%s id=%s will be retried: %s", request.headers.task, request.headers.id, reply.text)
        if message is None:  # the app has sent it
            self._answering.ack(request)
        elif request.acks_early:
            self._settling.publish(message)
        else:
            self._answering.settle(request, Replace(request.delivery.tag, message))

    def _requeue(self, request: WorkerRequest) -> None:
        if request.acks_early:
            self._settling.publish(request.delivery.again())
        else:
            self._answering.settle(request, Requeue(request.delivery.tag))

    def _expired(self, request: WorkerRequest) -> None:
        """Answer for a task that its executor found expired: it had waited for its slot too long."""
        headers = request.headers
        logger.info("task=%s id=%s expired before it ran", headers.task, headers.id)
        end = decided_ends.revoked(headers, Cause.EXPIRED)
        self._answering.answer(request, end, self._answering.ack_of(request), ran=False)

    def _run_again_later(self, request: WorkerRequest, reply: Reply) -> None:
        delivery = request.delivery
        wait_s = _UNSTORED.delay_s(delivery.deliveries)
        logger.error(
            "task=%s id=%s runs again in %.0f s: %s",
            request.headers.task,
            request.headers.id,
            wait_s,
            reply.text,
        )
        self._answering.settle(request, Delay(delivery.tag, clock.now() + wait_s, started=True))

    def _hand_over_unstored(self, request: WorkerRequest, reply: Reply, runtime_s: float) -> None:
        """Give the app an end that it can store later: its message is acknowledged, it must not run again."""
        logger.error(
            "task=%s id=%s ran to its end, which the app could not store; its result becomes FAILURE, "
            "for a message acknowledged early must not run again: %s",
            *(request.headers.task, request.headers.id, reply.text),
        )
        end = decided_ends.unstored(request.headers, reply.text)
        settlement = self._failing.settlement(request, reply.text, _known(reply, runtime_s))
        self._answering.answer(request, end, settlement, runtime_s=runtime_s)

    def _reject(self, request: WorkerRequest, reply: Reply, runtime_s: float) -> None:
        logger.error(
            "task=%s id=%s rejected: %s; dead-lettered", request.headers.task, request.headers.id, reply.text
        )
        if request.acks_early:
            self._failing.settlement(request, reply.text, _known(reply, runtime_s))
        else:
            evidence = msgspec.json.encode({"traceback": reply.traceback})
            self._answering.settle(request, Dead(request.delivery.tag, reply.text, evidence))
        if self._answering.is_last_word(request) and not self._work.needs.answers:
            self._settling.follow(decided_ends.aftermath(request.headers, request.delivery))

    def _timed_out(self, request: WorkerRequest, timed_out: TimedOut) -> None:
        headers = request.headers
        logger.error("task=%s id=%s ended by its limit of %s s", headers.task, headers.id, timed_out.limit_s)
        if self._losses.runs_again_after_its_limit(request):
            self._answering.note(RunEnded(headers, request.options))
            self._answering.settle(request, Requeue(request.delivery.tag, died=True))
            return
        end = decided_ends.timed_out(headers, timed_out.limit_s)
        reason = f"it was ended by its limit of {timed_out.limit_s:g} s"
        settlement = self._failing.settlement(request, reason, {"limit_s": timed_out.limit_s})
        self._answering.cut_short(request, end, settlement)

    def _cancelled(self, request: WorkerRequest, cancelled: Cancelled) -> None:
        headers = request.headers
        how = describe_signal(request.terminated_by) if cancelled.started else "before it ran"
        logger.warning("task=%s id=%s terminated on request: %s", headers.task, headers.id, how)
        ack = self._answering.ack_of(request)
        if cancelled.started:
            end = decided_ends.revoked(headers, Cause.TERMINATED, request.terminated_by)
            self._answering.cut_short(request, end, ack)
        else:
            self._answering.answer(request, decided_ends.revoked(headers, Cause.REVOKED), ack, ran=False)

    def _broken(self, request: WorkerRequest, broken: Broken) -> None:
        headers = request.headers
        if self._ended_on_request(request, Reply(End.FAILED, softly=True), None):
            return  # it was asked while the executor had not reached the task, or had left it
        trace = Block(broken.traceback)
        logger.error("task=%s id=%s broke the executor\n%s", headers.task, headers.id, trace)
        reason = "the executor failed"
        known = {"traceback": shortened(broken.traceback)}
        if request.acks_early:
            letter = self._failing.settlement(request, reason, known)
        else:
            letter = Dead(request.delivery.tag, reason, msgspec.json.encode(known))
        self._answering.cut_short(request, decided_ends.broken(headers, broken.traceback), letter)


def _known(reply: Reply, runtime_s: float) -> dict[str, object]:
    """Return what a reply tells of a failed run beside its reason."""
    return {"pid": reply.pid, "runtime_s": round(runtime_s, 6), "traceback": shortened(reply.traceback)}
