"""py-amqp without its waiting: read what has come, write many frames at once, confirm many messages at once.

py-amqp reads nine times from the socket for one message, and waits for the confirmation of each message
before the next.  Here a socket is read into one buffer until it is empty; acknowledgements leave in one
write; and a batch of messages is sent whole before its confirmations are awaited.
"""

from __future__ import annotations

import ssl
import struct
from collections.abc import Sequence
from typing import Any

from amqp import spec
from amqp.basic_message import Message
from amqp.exceptions import AMQPError
from amqp.exceptions import UnexpectedFrame as Unexpected

from taskd.brokers.generic.envelope import Sealed
from taskd.errors import BrokerError

_READ_BYTES = 1 << 16
_HEAD = struct.Struct(">BHI")
_FRAME_END = 0xCE
#: A method frame of basic.ack: 13 bytes of arguments.
_ACK = struct.Struct(">BHIHHQBB")


def pump(connection: Any) -> None:
    """Dispatch everything that has come, without waiting.  Raises what py-amqp raises."""
    transport = connection.transport
    sock = transport.sock
    before = sock.gettimeout()
    while True:
        try:
            sock.settimeout(0.0)
            data = sock.recv(_READ_BYTES)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        finally:
            sock.settimeout(before)
        if not data:
            raise ConnectionResetError("the server closed the connection")
        _feed(connection, transport, transport._read_buffer + data)


def _feed(connection: Any, transport: Any, buffer: bytes) -> None:
    at, end, handle = 0, len(buffer), connection.on_inbound_frame
    try:
        while end - at >= _HEAD.size + 1:
            kind, channel, size = _HEAD.unpack_from(buffer, at)
            stop = at + _HEAD.size + size + 1
            if stop > end:
                return
            payload = buffer[at + _HEAD.size : stop - 1]
            if buffer[stop - 1] != _FRAME_END:
                raise Unexpected("a frame does not end where it should")
            at = stop
            handle((kind, channel, payload))
    finally:
        transport._read_buffer = buffer[at:]


def acknowledge(channel: Any, up_to: int, handles: Sequence[int]) -> None:
    """Acknowledge everything up to a handle (0: nothing), and single ones, in one write."""
    number = channel.channel_id
    frames = [_ACK.pack(1, number, 13, *spec.Basic.Ack, handle, 0, _FRAME_END) for handle in handles]
    if up_to:
        frames.insert(0, _ACK.pack(1, number, 13, *spec.Basic.Ack, up_to, 1, _FRAME_END))
    if frames:
        channel.connection.transport.write(b"".join(frames))
        channel.connection.bytes_sent += len(frames)


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
        channel, self._refused = self._channel, 0
        self._unroutable.clear()
        for message, raw in [(message, prepare(message)) for message in messages]:
            self._sent += 1
            self._open.add(self._sent)
            arguments = (0, message.exchange, message.routing_key, not message.exchange, False)
            channel.send_method(spec.Basic.Publish, "Bssbb", arguments, raw)
        while self._open:
            if channel.connection is None:
                raise AMQPError("the connection was closed before the messages were confirmed")
            channel.connection.drain_events(timeout=None)
        if self._refused:
            raise BrokerError(f"the server refused {self._refused} of {len(messages)} messages")
        return [each for each in messages if not each.exchange and each.routing_key in self._unroutable]


def prepare(message: Sealed) -> Any:
    """Return a message of py-amqp.  Raises: ``BrokerError`` for what AMQP cannot carry."""
    raw = Message(message.body, application_headers=message.headers, **message.properties)
    try:
        raw._serialize_properties()
    except (struct.error, ValueError, OverflowError, RecursionError, AMQPError) as refused:
        raise BrokerError(f"AMQP cannot carry this message: {refused}") from refused
    return raw
