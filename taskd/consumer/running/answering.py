"""Settle a message and answer whoever waits for its task: the one way out for every end.

The ends that a task brought about, those that the worker decided about a run, and those of messages that
never ran go this way.  They are published together as the moment ``ended``.
"""

from __future__ import annotations

from taskd.consumer.claims import Claims
from taskd.consumer.moments import Moments, RunEnded
from taskd.consumer.request import Softened, WorkerRequest
from taskd.consumer.running.end_hooks import EndHooks
from taskd.consumer.settling import decided_ends
from taskd.consumer.settling.decided_ends import DecidedEnd
from taskd.consumer.settling.settling import Settling
from taskd.protocol.delivery import Ack, Dead, Delivery, Replace, Requeue, Settlement
from taskd.protocol.message import TaskHeaders
from taskd.protocol.results import TaskState
from taskd.sending.options import TaskOptions


class Answering:
    """Answers for the tasks of one worker.  For the loop's thread."""

    def __init__(self, settling: Settling, claims: Claims, moments: Moments, hooks: EndHooks) -> None:
        self._settling = settling
        self._claims = claims
        self._moments = moments
        self._hooks = hooks
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

    def is_last_word(self, request: WorkerRequest) -> bool:
        """Whether nobody runs this message again: its claim is not lost, or was given up at the start."""
        return request.acks_early or request.generation == self._claims.generation

    # -- ends ----------------------------------------------------------------------------------

    def tell(self) -> None:
        """Publish the ends of this turn."""
        if self._ended:
            ended = self._ended.copy()
            self._ended.clear()
            self._moments.ended.publish(ended)

    def cut_short(self, request: WorkerRequest, end: DecidedEnd) -> None:
        """Answer for a run that did not end by itself, and have the hooks hear of it."""
        self.answer(request, end)
        self._hooks.tell(request.delivery, request.options, end)

    def answer(
        self,
        request: WorkerRequest,
        end: DecidedEnd,
        *,
        ran: bool = True,
        runtime_s: float | None = None,
    ) -> None:
        """Answer for a request with the end that the worker has decided; ``ran``: it counts as a run."""
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
            )
        )
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

    def refuse(
        self,
        delivery: Delivery,
        headers: TaskHeaders,
        options: TaskOptions | None,
        end: DecidedEnd,
        *,
        expired: bool = False,
    ) -> None:
        """Answer for a message that does not run; ``options`` are None where its task is not known."""
        self.note(RunEnded(headers, options, decided=end, ran=False, expired=expired))
        after = decided_ends.aftermath(headers, delivery)
        self._settling.answer(end, after, delivery, headers)
        self._settling.follow(after)
