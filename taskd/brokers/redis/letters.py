"""Letters on Redis: written by the intake, read and sent again at the desk."""

from __future__ import annotations

import msgspec

from taskd.base.errors import ProtocolError
from taskd.base.safe_text import storable
from taskd.brokers.dead import never_tried, size_of, task_name
from taskd.brokers.desk import DeadFilter, DeadLetter, DeadMessage
from taskd.brokers.redis.envelope import OpenedEnvelope, read, returned, seal, with_headers
from taskd.brokers.redis.keys import Keys, step_of
from taskd.protocol.delivery import Dead, Delivery, LetterKind, UnclaimedFailure


class RedisLetter(msgspec.Struct, frozen=True, omit_defaults=True):
    """The stored form of one letter; ``key`` and ``envelope`` are for sending it again.

    The message of a failed task ran, so its envelope can be read: headers and body are not stored beside it.
    """

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
    kind: LetterKind = LetterKind.DEAD

    def shown(self, letter_id: int) -> DeadLetter:
        """Return the line for a list."""
        return DeadLetter(
            letter_id, self.queue, self.task, self.task_id, self.reason, self.died_at, self.deaths, self.kind
        )

    def whole(self, letter_id: int) -> DeadMessage:
        """Return everything."""
        headers = self.headers
        body = self.body
        if self.kind is LetterKind.FAILED:
            message = self._read()
            headers = message.headers
            body = message.body
        shown = self.shown(letter_id)
        return DeadMessage(shown, self.evidence, headers, body, self.content_type, self.content_encoding)

    def _read(self) -> Delivery:
        return read(self.envelope, 0, self.key, self.queue, 0).delivery

    def anew(self) -> bytes:
        """Return the envelope to send: of a task that was never tried."""
        if self.kind is LetterKind.DEAD:
            return self.envelope
        headers = self._read().headers
        anew = never_tried(headers)
        return self.envelope if anew is headers else with_headers(self.envelope, anew)


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(RedisLetter)


def park(opened: OpenedEnvelope, dead: Dead, died_at: float) -> bytes:
    """Return the letter to keep of a delivery."""
    delivery = opened.delivery
    is_dead = dead.kind is LetterKind.DEAD
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
            delivery.headers if is_dead else b"",
            delivery.body if is_dead else b"",
            delivery.content_type,
            delivery.content_encoding,
            dead.kind,
        )
    )


def of_failure(failure: UnclaimedFailure, keys: Keys, failed_at: float) -> bytes:
    """Return the letter of a message that nobody has claimed, as ``in_place`` makes it."""
    delivery = failure.delivery
    letter = RedisLetter(
        delivery.queue,
        task_name(delivery.headers),
        storable(delivery.task_id),
        storable(failure.reason),
        failed_at,
        delivery.deaths,
        failure.evidence,
        keys.queue(delivery.queue, step_of(delivery.priority)).encode(),
        seal(delivery.again(), delivery.queue),
        b"",
        b"",
        delivery.content_type,
        delivery.content_encoding,
        LetterKind.FAILED,
    )
    return in_place(delivery, failure.evidence, _encode(letter))


def in_place(delivery: Delivery, evidence: bytes, letter: bytes) -> bytes:
    """Return a failed letter as it is stored: scripts count it by its queue and its size."""
    size = size_of(delivery.headers, delivery.body, evidence)
    return b"%b\0%d\0%b" % (delivery.queue.encode(), size, letter)


def unfold(data: bytes, kind: LetterKind = LetterKind.DEAD) -> RedisLetter:
    """Read what is stored under a kind.  Raises: ``ProtocolError`` for what taskd has not written."""
    letter = data if kind is LetterKind.DEAD else data.split(b"\0", 2)[2]
    try:
        return _decoder.decode(letter)
    except msgspec.MsgspecError as error:
        raise ProtocolError(f"a letter on Redis is not one of taskd's: {error}") from error


def passes(letter: RedisLetter, which: DeadFilter) -> bool:
    """Return whether a filter lets the letter through; ids are the caller's business."""
    return (
        which.task in (None, letter.task)
        and which.queue in (None, letter.queue)
        and (which.since_at is None or letter.died_at >= which.since_at)
    )
