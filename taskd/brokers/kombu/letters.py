"""Dead letters over kombu: messages in the durable queue ``taskd.dead``.

A letter's body holds everything, so that neither odd headers nor a server's limits for them are in the way.
"""

from __future__ import annotations

import msgspec

from taskd.base.errors import ProtocolError
from taskd.base.safe_text import storable
from taskd.brokers.dead import task_name
from taskd.brokers.desk import DeadFilter, DeadLetter, DeadMessage
from taskd.brokers.kombu.envelope import Sealed
from taskd.brokers.kombu.naming import DEAD
from taskd.protocol.delivery import Delivery, LetterKind


class MessageLetter(msgspec.Struct, frozen=True):
    """The stored form of one dead letter."""

    id: int
    task: str
    reason: str
    died_at: float
    evidence: bytes
    delivery: Delivery

    def shown(self) -> DeadLetter:
        """Return the line for a list."""
        delivery = self.delivery
        task_id = storable(delivery.task_id)
        return DeadLetter(
            self.id, delivery.queue, self.task, task_id, self.reason, self.died_at, delivery.deaths
        )

    def whole(self) -> DeadMessage:
        """Return everything."""
        delivery = self.delivery
        return DeadMessage(
            self.shown(),
            self.evidence,
            delivery.headers,
            delivery.body,
            delivery.content_type,
            delivery.content_encoding,
        )

    def passes(self, which: DeadFilter) -> bool:
        """Return whether a filter lets the letter through."""
        return (
            which.task in (None, self.task)
            and which.queue in (None, self.delivery.queue)
            and (which.since_at is None or self.died_at >= which.since_at)
            and (which.ids is None or self.id in which.ids)
            and which.kind in (None, LetterKind.DEAD)
        )


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(MessageLetter)


def park(delivery: Delivery, reason: str, evidence: bytes, died_at: float) -> Sealed:
    """Return the message that keeps a dead letter."""
    letter = MessageLetter(
        delivery.tag, task_name(delivery.headers), storable(reason), died_at, evidence, delivery
    )
    properties = {
        "delivery_mode": 2,
        "content_type": "application/x-taskd-dead-letter",
        "content_encoding": "binary",
    }
    return Sealed("", DEAD, _encode(letter), {}, properties)


def unfold(body: bytes) -> MessageLetter:
    """Read what ``park`` wrote.  Raises: ``ProtocolError`` for anything else."""
    try:
        return _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"a message in {DEAD} is not one of taskd's: {error}") from error
