"""py-amqp without its waiting: write many frames at once, confirm many messages at once.

py-amqp writes each frame by itself and waits for the confirmation of each message before the next.  Here
acknowledgements leave in one write, and a batch of messages is sent whole before its confirmations are
awaited.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

from amqp import spec
from amqp.exceptions import AMQPError

from taskd.base.errors import BrokerError
from taskd.brokers.amqp import written
from taskd.brokers.kombu.envelope import Sealed

_FRAME_END = 0xCE
#: A method frame of basic.ack or basic.reject, whose method and arguments are 13 bytes.
_SETTLE = struct.Struct(">BHIHHQBB")


def acknowledge(channel: Any, up_to: int, handles: Sequence[int]) -> None:
    """Acknowledge everything up to a handle (0: nothing), and single ones, in one write."""
    several = [(up_to, 1)] if up_to else []
    _settle(channel, spec.Basic.Ack, [*several, *((handle, 0) for handle in handles)])


def give_back(channel: Any, handles: Sequence[int]) -> None:
    """Have the server put messages back into their places, in one write."""
    _settle(channel, spec.Basic.Reject, [(handle, 1) for handle in handles])


def _settle(channel: Any, method: tuple[int, int], entries: Sequence[tuple[int, int]]) -> None:
    if entries:
        number = channel.channel_id
        frames = [_SETTLE.pack(1, number, 13, *method, handle, bits, _FRAME_END) for handle, bits in entries]
        channel.connection.transport.write(b"".join(frames))
        channel.connection.bytes_sent += len(frames)


def send(channel: Any, messages: Sequence[Sealed], *, mandatory: bool) -> None:
    """Send all messages, and wait for nothing; ``mandatory`` ones to a queue come back if it does not exist.

    Raises: ``BrokerError`` for what AMQP cannot carry, before anything was sent; and what py-amqp raises.
    """
    connection = channel.connection
    if connection is None:
        raise AMQPError("the connection is closed")
    made: list[bytes] = []
    for message in messages:
        must_arrive = mandatory and not message.exchange
        made += written.frames(
            channel.channel_id, message, mandatory=must_arrive, frame_max=connection.frame_max
        )
    connection.transport.write(b"".join(made))
    connection.bytes_sent += len(made)


def refusal(channel: Any, message: Sealed) -> str:
    """Return why a channel cannot carry a message, empty if it can."""
    connection = channel.connection
    return "" if connection is None else written.refusal(message, connection.frame_max)


class Confirming:
    """Publishes over one channel, whose confirmations it asks for."""

    def __init__(self, channel: Any) -> None:
        self._channel = channel
        channel.confirm_select()
        channel.events["basic_ack"].add(self._on_ack)
        channel.events["basic_nack"].add(self._on_nack)
        self._sent = 0
        self._open: set[int] = set()
        self._refused = 0
        self._unroutable: set[str] = set()
        channel.events["basic_return"].add(self._on_return)

    def _on_return(self, _error: object, _exchange: str, routing_key: str, _message: object) -> None:
        self._unroutable.add(routing_key)

    def _on_ack(self, number: int, multiple: bool) -> None:
        if multiple:
            self._open = {each for each in self._open if each > number}
        else:
            self._open.discard(number)

    def _on_nack(self, number: int, multiple: bool) -> None:
        before = len(self._open)
        self._on_ack(number, multiple)
        self._refused += before - len(self._open)

    def publish(self, messages: Sequence[Sealed]) -> Sequence[Sealed]:
        """Send all messages, and return when the server has taken charge of them.

        Returned are those to a queue that does not exist, which the server has not taken.
        Raises: ``BrokerError`` when it refused some, and what py-amqp raises; then some may have been taken.
        """
        channel = self._channel
        self._refused = 0
        self._unroutable.clear()
        send(channel, messages, mandatory=True)
        self._open.update(range(self._sent + 1, self._sent + 1 + len(messages)))
        self._sent += len(messages)
        while self._open:
            if channel.connection is None:
                raise AMQPError("the connection was closed before the messages were confirmed")
            channel.connection.drain_events(timeout=None)
        if self._refused:
            raise BrokerError(f"the server refused {self._refused} of {len(messages)} messages")
        return [each for each in messages if not each.exchange and each.routing_key in self._unroutable]
