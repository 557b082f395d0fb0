"""A claimed task on its way through the worker, and the generation of claims that counts."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from taskd.base.errors import ProtocolError
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import TaskHeaders, decode_headers
from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions


class Claims:
    """The number of the present generation of claims: settlements of an earlier one are void.

    The step Connection alone begins another one.
    """

    __slots__ = ("generation",)

    def __init__(self) -> None:
        self.generation = 0

    def begin_anew(self) -> int:
        """Begin another generation; return its number."""
        self.generation += 1
        return self.generation


class Softened(Enum):
    """For whose sake ``SoftTimeLimitExceeded`` was raised in a running task, its own soft limit aside."""

    NO = "no"
    #: ``revoke --terminate``: the task is not to run again.
    REVOKED = "revoked"
    #: The worker ends: what the task has not finished goes back to its queue.
    SHUTDOWN = "shutdown"


@dataclass(slots=True, eq=False)
class WorkerRequest:
    """A delivery that was given to the pool, and what the worker must remember of it.

    ``generation`` tells which intake claimed it: a settlement is sent only by that one.
    """

    delivery: Delivery
    headers: TaskHeaders
    options: TaskOptions
    generation: int
    #: Set by ``revoke --terminate``: the signal that ends it.
    terminated_by: int = 0
    #: Further claims of the same message: their broker handed it out again while it ran.
    twins: list[int] = field(default_factory=list)
    softened: Softened = Softened.NO

    def is_run_of(self, delivery: Delivery, generation: int) -> bool:
        """Return whether a message that comes again, to this generation, is the one that runs here.

        Not one that is only called the same: the content is compared, and it must have been handed out.
        """
        again = delivery.deliveries > 1 or self.generation != generation
        if not again or self.delivery.body != delivery.body:
            return False
        try:
            # Not the bytes: brokers add headers of their own to what they hand out again.
            return decode_headers(delivery.headers) == self.headers
        except ProtocolError:
            return False

    def take_over(self, delivery: Delivery, generation: int) -> None:
        """Let the run answer for this claim of its message; the former one counts no more if it was lost."""
        if self.generation == generation:
            self.twins.append(delivery.tag)
        else:
            self.delivery = delivery
            self.generation = generation
            self.twins = []

    @property
    def acks_early(self) -> bool:
        """Whether the message was acknowledged before the task ran."""
        return self.options.acks is Acks.EARLY

    @property
    def keeps_result(self) -> bool:
        """Whether somebody may ask for the outcome; the message's header outranks the task's option."""
        ignored = self.headers.ignore_result
        return not (self.options.ignore_result if ignored is None else ignored)
