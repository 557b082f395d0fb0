"""Settle a message and answer whoever waits for its task: the one way out for every end.

The ends that a task brought about, those that the worker decided about a run, and those of messages that
never ran go this way.  They are published together as the moment ``ended``.  Where the app answers by itself,
an end that the worker decided goes to the app, and the message is settled after it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import msgspec

from taskd.consumer.moments import Moments, RunEnded
from taskd.consumer.request import Claims, Softened, WorkerRequest
from taskd.consumer.running.app_ends import AppEnds, Handed
from taskd.consumer.running.failing import Failing
from taskd.consumer.settling import decided_ends
from taskd.consumer.settling.parking import answer_parked, parked_for
from taskd.consumer.settling.settling import Settling
from taskd.protocol.delivery import Ack, Dead, Delivery, Replace, Requeue, Settlement
from taskd.protocol.execution import Cause, DecidedEnd
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState
from taskd.sending.options import TaskOptions


class Answering:
    """Answers for the tasks of one worker.  For the loop's thread."""

    def __init__(
        self, settling: Settling, claims: Claims, moments: Moments, ends: AppEnds, failing: Failing
    ) -> None:
        self._settling = settling
        self._claims = claims
        self._moments = moments
        self._ends = ends
        self._failing = failing
        self._ended: list[RunEnded] = []
        #: Has an end published with the next ``tell``.
        self.note = self._ended.append

    # -- what a request held -------------------------------------------------------------------

    def settle(self, request: WorkerRequest, settlement: Settlement) -> None:
        """Queue a settlement, unless the claim belongs to a lost generation: then it is void."""
        if request.generation == self._claims.generation:
            self._settling.settle(settlement)
            if request.twins:
                is_over = isinstance(settlement, (Ack, Replace, Dead))
                for tag in request.twins:
                    self._settling.settle(Ack(tag) if is_over else Requeue(tag, started=False))

    def ack(self, request: WorkerRequest) -> None:
        """Acknowledge what was not acknowledged before it ran."""
        if not request.acks_early:
            self.settle(request, Ack(request.delivery.tag))

    @staticmethod
    def ack_of(request: WorkerRequest) -> Ack | None:
        """Return the settlement of a task that is done with: None where it was acknowledged before."""
        return None if request.acks_early else Ack(request.delivery.tag)

    def is_last_word(self, request: WorkerRequest) -> bool:
        """Whether nobody runs this message again: its claim is not lost, or was given up at the start."""
        return request.acks_early or request.generation == self._claims.generation

    def open_runs(self) -> Sequence[WorkerRequest]:
        """Return the runs that have ended here and are not answered yet."""
        return self._ends.runs()

    # -- ends ----------------------------------------------------------------------------------

    def tell(self) -> None:
        """Publish the ends of this turn."""
        if self._ended:
            ended = self._ended.copy()
            self._ended.clear()
            self._moments.ended.publish(ended)

    def cut_short(self, request: WorkerRequest, end: DecidedEnd, settlement: Ack | Dead | None) -> None:
        """Answer for a run that did not end by itself, and have the hooks hear of it."""
        self.answer(request, end, settlement)
        self._ends.tell(request.delivery, request.options.name, end)

    def answer(
        self,
        request: WorkerRequest,
        end: DecidedEnd,
        settlement: Ack | Dead | None,
        *,
        ran: bool = True,
        runtime_s: float | None = None,
    ) -> None:
        """Answer for a request with the end that the worker has decided, and settle its message.

        ``settlement`` is None where it was acknowledged before it ran; ``ran``: it counts as a run.
        """
        signum = request.terminated_by
        self.note(
            RunEnded(
                request.headers,
                request.options,
                decided=end,
                runtime_s=runtime_s,
                ran=ran,
                failed=end.state == TaskState.FAILURE,
                terminated=bool(signum) or request.softened is Softened.REVOKED,
                signum=signum,
                expired=end.cause is Cause.EXPIRED,
            )
        )
        if self._ends.app_answers:
            settle = partial(self._settle_run, request)
            run = request if ran else None
            self._ends.hand_over(Handed(request.delivery, request.headers, end, settle, settlement, run))
            return
        after = decided_ends.aftermath(request.headers, request.delivery)
        self._settling.answer(
            end,
            after,
            request.delivery,
            request.headers,
            keep=request.keeps_result,
            last_word=request.acks_early,
        )
        if self.is_last_word(request):
            self._settling.follow(after)
        if settlement is not None:
            self.settle(request, settlement)

    def refuse(
        self,
        delivery: Delivery,
        headers: TaskHeaders,
        options: TaskOptions | None,
        end: DecidedEnd,
        settlement: Ack | Dead,
    ) -> None:
        """Answer for a message that does not run, and settle it; no ``options``: its task is not known."""
        self.note(RunEnded(headers, options, decided=end, ran=False, expired=end.cause is Cause.EXPIRED))
        if self._ends.app_answers:
            settle = partial(self._settle_of, self._claims.generation)
            self._ends.hand_over(Handed(delivery, headers, end, settle, settlement))
            return
        after = decided_ends.aftermath(headers, delivery)
        self._settling.answer(end, after, delivery, headers)
        self._settling.follow(after)
        self._settling.settle(settlement)

    def _settle_run(self, request: WorkerRequest, settlement: Settlement) -> None:
        """Settle the message of a run, by the claim that counts now: it may have come again meanwhile."""
        self.settle(request, msgspec.structs.replace(settlement, tag=request.delivery.tag))

    def _settle_of(self, generation: int, settlement: Settlement) -> None:
        if generation == self._claims.generation:
            self._settling.settle(settlement)

    # -- messages on which the worker itself fails ---------------------------------------------

    def park(self, delivery: Delivery, error: Exception) -> None:
        """Park a message that did not come as far as the pool; raises nothing."""
        self._park(delivery, error, None, partial(self._settle_of, self._claims.generation))

    def park_run(self, request: WorkerRequest, error: Exception) -> None:
        """Park a message whose task has run; raises nothing."""
        self._park(request.delivery, error, request, partial(self._settle_run, request))

    def _park(
        self,
        delivery: Delivery,
        error: Exception,
        run: WorkerRequest | None,
        settle: Callable[[Settlement], None],
    ) -> None:
        parked = parked_for(delivery, error, run.headers if run else None)
        early = run is not None and run.acks_early
        settlement = None if early else parked.letter
        if run is not None and early:
            self._failing.settlement(run, parked.letter.reason, {"traceback": parked.traceback})
        if parked.end is None or parked.headers is None:
            if settlement is not None:
                settle(settlement)
        elif self._ends.app_answers:
            self._ends.hand_over(Handed(delivery, parked.headers, parked.end, settle, settlement, run))
        else:
            if settlement is not None:
                settle(settlement)
            answer_parked(self._settling, delivery, parked.headers, parked.end, last_word=early)
