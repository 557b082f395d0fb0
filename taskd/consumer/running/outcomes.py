"""Turn each outcome of the pool into a settlement and, where somebody may ask, a result.

The outward half of the worker.  A decision of the parent on a task (child lost, hard limit,
terminated) goes the same way as the task's own decisions, so a waiting client is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from taskd.base.exhaustive import assert_never
from taskd.base.exit_codes import describe_signal
from taskd.base.safe_text import Block
from taskd.consumer.context import Context
from taskd.consumer.request import Request, Softened
from taskd.consumer.running.child_loss import after_child_lost, cause
from taskd.consumer.running.end_hooks import Telling
from taskd.consumer.settling import decided_ends
from taskd.consumer.settling.parking import park
from taskd.consumer.settling.settling import Settling
from taskd.pools.base import Broken, Cancelled, ChildLost, Done, Outcome, TimedOut
from taskd.protocol.delivery import Ack, Dead, Outgoing, Replace, Requeue, Settlement
from taskd.protocol.execution import End, Reply, decode_reply
from taskd.protocol.results import TaskState

logger = logging.getLogger(__name__)


class Outcomes:
    """Receives what the pool reports.  ``generation`` is that of the present intake."""

    def __init__(self, context: Context, settling: Settling) -> None:
        self._context = context
        self._settling = settling
        self._telling = Telling(context)
        self.generation = 0

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Queue the settlement and result of each; the event loop flushes them."""
        requests = self._context.requests
        for outcome in outcomes:
            request = requests.pop(outcome.tag, None)
            if request is None:
                # A command of the app; or given back already, while the pool was ending it.
                if (call := self._context.calls.pop(outcome.tag, None)) is not None:
                    try:
                        call(outcome)
                    except Exception:  # the barrier of jobs that are not messages
                        logger.exception("the answer of a command of the app was lost")
                continue
            before = self._settling.mark()
            try:
                self._take(request, outcome)
            except Exception as error:  # noqa: BLE001 - the barrier of messages that have run
                self._settling.back_to(before)
                park(
                    self._settling,
                    request.delivery,
                    error,
                    headers=request.headers,
                    claimed=request.generation == self.generation,
                    last_word=request.acks_early,
                )

    def _take(self, request: Request, outcome: Outcome) -> None:
        match outcome:
            case Done():
                self._done(request, outcome)
            case ChildLost():
                self._child_lost(request, outcome)
            case TimedOut():
                self._timed_out(request, outcome)
            case Cancelled():
                self._cancelled(request, outcome)
            case Broken():
                self._broken(request, outcome)
            case _:
                assert_never(outcome)

    def _done(self, request: Request, done: Done) -> None:
        context = self._context
        name = request.headers.task
        context.run_times.record(name, done.runtime_s)
        reply = decode_reply(done.reply)
        context.note_end(request.options, failed=reply.end in (End.FAILED, End.REJECTED))
        if request.softened is not Softened.NO and self._ended_on_request(request, reply):
            return
        if context.dispatcher.on and request.options.send_events:
            context.task_events.done(request.headers, reply, done.runtime_s)
        if reply.record and not reply.silent:
            self._settling.keep_result(
                request.headers.id,
                reply.state,
                reply.record,
                reply.given_up,
                sender=request.delivery,
                last_word=request.acks_early,
            )
        if reply.parts or reply.begins:
            queue, early = request.delivery.queue, request.acks_early
            self._settling.count(reply.parts, reply.record, request.headers, queue, last_word=early)
            self._settling.begin(reply.begins)
        match reply.end:
            case End.SUCCEEDED | End.FAILED | End.IGNORED:
                self._finished(request, reply.callbacks)
            case End.RETRIED:
                self._retry(request, reply)
            case End.REQUEUED:
                self._requeue(request)
            case End.REJECTED:
                self._reject(request, reply)
            case _:
                assert_never(reply.end)

    def _ended_on_request(self, request: Request, reply: Reply) -> bool:
        """Settle a task that ended because it was asked to; False when it ended as it would have anyway."""
        headers = request.headers
        match request.softened:
            case Softened.REVOKED if reply.softly or reply.end is End.RETRIED:
                logger.warning("task=%s id=%s ended on request", headers.task, headers.id)
                self._answer(request, decided_ends.revoked(headers, "terminated"))
                self._ack(request)
                return True
            case Softened.SHUTDOWN if reply.softly and not request.acks_early:
                logger.warning("task=%s id=%s ended for the shutdown; requeued", headers.task, headers.id)
                if self._context.dispatcher.on and request.options.send_events:
                    self._context.task_events.cancelled(headers)
                self._settle(request, Requeue(request.delivery.tag))
                return True
        return False

    def _finished(self, request: Request, callbacks: Sequence[Outgoing]) -> None:
        """Acknowledge, and send what follows the task; a single message in the same transaction."""
        if len(callbacks) == 1 and not request.acks_early:
            self._settle(request, Replace(request.delivery.tag, callbacks[0]))
            return
        if self._is_last_word(request):
            for message in callbacks:
                self._settling.publish(message)
        self._ack(request)

    def _is_last_word(self, request: Request) -> bool:
        """Whether nobody runs this message again: its claim is not lost, or was given up at the start."""
        return request.acks_early or request.generation == self.generation

    def _retry(self, request: Request, reply: Reply) -> None:
        assert reply.retry is not None
        message = reply.retry
        logger.info("task=%s id=%s will be retried: %s", request.headers.task, request.headers.id, reply.text)
        if request.acks_early:
            self._settling.publish(message)
        else:
            self._settle(request, Replace(request.delivery.tag, message))

    def _requeue(self, request: Request) -> None:
        if request.acks_early:
            self._settling.publish(request.delivery.again())
        else:
            self._settle(request, Requeue(request.delivery.tag))

    def _reject(self, request: Request, reply: Reply) -> None:
        logger.error(
            "task=%s id=%s rejected: %s; dead-lettered", request.headers.task, request.headers.id, reply.text
        )
        if not request.acks_early:
            evidence = msgspec.json.encode({"traceback": reply.traceback})
            self._settle(request, Dead(request.delivery.tag, reply.text, evidence))
        if self._is_last_word(request):
            self._settling.follow(decided_ends.aftermath(request.headers, request.delivery))

    def _child_lost(self, request: Request, lost: ChildLost) -> None:
        delivery, headers = request.delivery, request.headers
        if request.acks_early:
            logger.error("task=%s id=%s lost its pool child: %s", headers.task, headers.id, cause(lost))
            self._cut_short(request, decided_ends.child_lost(headers, cause(lost)))
            return
        settlement = after_child_lost(delivery.tag, delivery.deaths, self._context.worker.max_deaths, lost)
        if isinstance(settlement, Dead):
            logger.error("task=%s id=%s dead-lettered: %s", headers.task, headers.id, settlement.reason)
            self._cut_short(request, decided_ends.child_lost(headers, cause(lost)))
        else:
            logger.warning(
                "task=%s id=%s lost its pool child pid=%s: %s; requeued",
                headers.task,
                headers.id,
                lost.pid,
                cause(lost),
            )
        self._settle(request, settlement)

    def _timed_out(self, request: Request, timed_out: TimedOut) -> None:
        headers = request.headers
        logger.error("task=%s id=%s ended by its limit of %s s", headers.task, headers.id, timed_out.limit_s)
        self._cut_short(request, decided_ends.timed_out(headers, timed_out.limit_s))
        self._ack(request)

    def _cancelled(self, request: Request, cancelled: Cancelled) -> None:
        headers = request.headers
        how = describe_signal(request.terminated_by) if cancelled.started else "before it ran"
        logger.warning("task=%s id=%s terminated on request: %s", headers.task, headers.id, how)
        if cancelled.started:
            self._cut_short(request, decided_ends.revoked(headers, "terminated"))
        else:
            self._answer(request, decided_ends.revoked(headers, "revoked"))
        self._ack(request)

    def _broken(self, request: Request, broken: Broken) -> None:
        headers = request.headers
        if self._ended_on_request(request, Reply(End.FAILED, softly=True)):
            return  # it was asked while the executor had not reached the task, or had left it
        trace = Block(broken.traceback)
        logger.error("task=%s id=%s broke the executor\n%s", headers.task, headers.id, trace)
        self._cut_short(request, decided_ends.broken(headers, broken.traceback))
        if not request.acks_early:
            evidence = msgspec.json.encode({"traceback": broken.traceback})
            self._settle(request, Dead(request.delivery.tag, "the executor failed", evidence))

    def _ack(self, request: Request) -> None:
        if not request.acks_early:
            self._settle(request, Ack(request.delivery.tag))

    def _settle(self, request: Request, settlement: Settlement) -> None:
        """Queue a settlement, unless the claim belongs to a lost generation: then it is void."""
        if request.generation == self.generation:
            self._settling.settle(settlement)
            is_over = isinstance(settlement, (Ack, Replace, Dead))
            for tag in request.twins:
                self._settling.settle(Ack(tag) if is_over else Requeue(tag, started=False))

    def _cut_short(self, request: Request, ending: decided_ends.DecidedEnd) -> None:
        """Answer for a run that did not end by itself, so that neither counted nor told its end."""
        self._context.note_end(request.options, failed=ending.state == TaskState.FAILURE)
        self._answer(request, ending)
        self._telling.tell(request.delivery, request.options, ending)

    def _answer(self, request: Request, ending: decided_ends.DecidedEnd) -> None:
        if self._context.dispatcher.on and request.options.send_events:
            signum, softly = request.terminated_by, request.softened is Softened.REVOKED
            self._context.task_events.ended(ending, terminated=bool(signum) or softly, signum=signum)
        after = decided_ends.aftermath(request.headers, request.delivery)
        self._settling.answer(
            ending,
            after,
            request.delivery,
            request.headers,
            keep=request.keeps_result,
            last_word=request.acks_early,
        )
        if self._is_last_word(request):
            self._settling.follow(after)
