"""Dead letters on Redis: written by the intake, read and sent again at the desk."""

from __future__ import annotations

import msgspec

from taskd.base.errors import ProtocolError
from taskd.brokers.dead import storable, task_name
from taskd.brokers.desk import DeadFilter, DeadLetter, DeadMessage
from taskd.brokers.redis.envelope import OpenedEnvelope, returned
from taskd.protocol.delivery import Dead


class RedisLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """The stored form of one dead letter; ``key`` and ``envelope`` are for sending it again."""

    queue: str
    task: str
    task_id: str
    reason: str
    died_at: float
    deaths: int
    evidence: bytes
    key: bytes
    envelope: bytes
    headers: bytes
    body: bytes
    content_type: str
    content_encoding: str

    def shown(self, letter_id: int) -> DeadLetter:
        """Return the line for a list."""
        return DeadLetter(
            letter_id, self.queue, self.task, self.task_id, self.reason, self.died_at, self.deaths
        )

    def whole(self, letter_id: int) -> DeadMessage:
        """Return everything."""
        return DeadMessage(
            self.shown(letter_id),
            self.evidence,
            self.headers,
            self.body,
            self.content_type,
            self.content_encoding,
        )


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(RedisLetter)


def park(opened: OpenedEnvelope, dead: Dead, died_at: float) -> bytes:
    """Return the letter to keep of a delivery."""
    delivery = opened.delivery
    return _encode(
        RedisLetter(
            delivery.queue,
            task_name(delivery.headers),
            storable(delivery.task_id),
            storable(dead.reason),
            died_at,
            delivery.deaths + dead.died,
            dead.evidence,
            opened.key,
            returned(opened, deliveries=0, deaths=0),
            delivery.headers,
            delivery.body,
            delivery.content_type,
            delivery.content_encoding,
        )
    )


def unfold(data: bytes) -> RedisLetter:
    """Read what ``park`` wrote.  Raises: ``ProtocolError`` for anything else."""
    try:
        return _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"a dead letter on Redis is not one of taskd's: {error}") from error


def passes(letter: RedisLetter, which: DeadFilter) -> bool:
    """Return whether a filter lets the letter through; ids are the caller's business."""
    return (
        which.task in (None, letter.task)
        and which.queue in (None, letter.queue)
        and (which.since_at is None or letter.died_at >= which.since_at)
    )
