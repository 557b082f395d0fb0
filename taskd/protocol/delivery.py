"""The message on its way: as a broker hands it out, as it is published, and how it is settled.

Brokers, senders, the worker and its pool pass these values on as they are; nobody copies them into others.
"""

from __future__ import annotations

from enum import Enum

import msgspec


class Delivery(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One claimed message.  A msgspec struct because a worker makes tens of thousands a second."""

    #: The broker's handle; unique within one intake.
    tag: int
    queue: str
    #: Task id; empty for a message that is not a task.
    task_id: str
    #: The application headers as JSON text, untouched.
    headers: bytes
    body: bytes
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    priority: int = 0
    #: 1 on the first delivery.  Counts deliveries that may have run, not those returned unstarted.
    deliveries: int = 1
    #: How many workers or pool children died while running it.
    deaths: int = 0
    reply_to: str = ""
    correlation_id: str = ""
    exchange: str = ""
    routing_key: str = ""
    #: JSON of the properties that have no place above, such as ``app_id``; None for none.
    properties: bytes | None = None

    def again(self) -> Outgoing:
        """Return the same message to be sent once more, straight to its queue.

        Through its exchange it could reach other queues too.
        """
        return Outgoing(
            routing_key=self.queue,
            headers=self.headers,
            body=self.body,
            task_id=self.task_id,
            content_type=self.content_type,
            content_encoding=self.content_encoding,
            priority=self.priority,
            reply_to=self.reply_to,
            correlation_id=self.correlation_id,
            properties=self.properties,
        )


class Outgoing(msgspec.Struct, frozen=True, gc=False, kw_only=True, array_like=True):
    """One message to publish.

    ``exchange`` empty means the default exchange: ``routing_key`` is the queue, made if missing.
    """

    routing_key: str
    headers: bytes
    body: bytes
    exchange: str = ""
    task_id: str = ""
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    #: 0 to 9; 9 is served first.
    priority: int = 0
    #: Wall-clock second before which it is not handed out; None: at once.
    due_at: float | None = None
    reply_to: str = ""
    correlation_id: str = ""
    #: As ``Delivery.properties``.
    properties: bytes | None = None


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The message is done with: delete it."""

    tag: int


class Requeue(msgspec.Struct, frozen=True, gc=False):
    """Put the message back in its place in the queue.

    ``started`` off takes the delivery back from the count; ``died`` on adds one to its deaths.
    """

    tag: int
    started: bool = True
    died: bool = False


class Delay(msgspec.Struct, frozen=True, gc=False):
    """Put the message back, not to be handed out before the wall-clock second ``due_at``."""

    tag: int
    due_at: float
    started: bool = False


class LetterKind(Enum):
    """Why a message is kept as a letter."""

    #: It cannot run, was rejected, or killed too many processes.  It stays until an operator decides.
    DEAD = "dead"
    #: Its task failed for good.  It stays as long as ``[failures]`` says.
    FAILED = "failed"


class Dead(msgspec.Struct, frozen=True, gc=False):
    """Keep the message as a letter, and end its claim in the same transaction.

    ``reason`` is one short line for people; ``evidence`` is JSON text with whatever is known;
    ``died``: it has just killed its process once more.
    """

    tag: int
    reason: str
    evidence: bytes = b"{}"
    died: bool = False
    kind: LetterKind = LetterKind.DEAD


class UnclaimedFailure(msgspec.Struct, frozen=True, gc=False):
    """The letter of a task that failed and has no claim any more: it was acknowledged before it ran."""

    delivery: Delivery
    reason: str
    evidence: bytes = b"{}"


class Replace(msgspec.Struct, frozen=True, gc=False):
    """Delete the message and publish another in the same transaction: a retry cannot be lost."""

    tag: int
    message: Outgoing


Settlement = Ack | Requeue | Delay | Dead | Replace
