"""Reads an AMQP connection: all frames that one read from the socket brought, deliveries without py-amqp.

py-amqp reads from the socket three times for each frame, and sends the three frames of a message through its
generic machinery.  Here the socket is read into one buffer.  An ``Inbox`` puts together the frames of
messages for a consumer.  Every other frame goes to py-amqp, whose own waiting for answers reads through here
too, so that nothing is ever read past this buffer.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import Any

from amqp.exceptions import UnexpectedFrame

from taskd.base.errors import ProtocolError
from taskd.brokers.amqp.fields import read_properties
from taskd.brokers.kombu.envelope import Arrived

_READ_BYTES = 1 << 16
#: Kind, channel, size; the payload and one byte follow.
_head = Struct(">BHI").unpack_from
_HEAD_BYTES = 7
_AROUND_BYTES = 8
_FRAME_END = 0xCE
_METHOD = 1
_HEADER = 2
_BODY = 3
_DELIVER = b"\x00\x3c\x00\x3c"
_tag = Struct(">QB").unpack_from
#: Class, weight, size of the body.
_content = Struct(">HHQ").unpack_from
_CONTENT_BYTES = 12
_BASIC = 60


class Inbox:
    """Puts the messages for the consumers of one channel together; ``on_message`` must not read or wait.

    ``wake`` is called after some came while somebody waited for something else: the socket, which has been
    read, does not tell any more.
    """

    def __init__(self, on_message: Callable[[Arrived], None], wake: Callable[[], None]) -> None:
        self._on_message = on_message
        self.wake = wake
        #: Whether a message has come since this was last looked at.
        self.has_news = False
        #: The message whose frames are coming, and how many bytes of its body are missing.
        self._message: Arrived | None = None
        self._missing = 0
        self._parts: list[bytes] = []

    def take(self, kind: int, buffer: bytes, at: int, end: int) -> bool:
        """Take in the frame whose payload lies from ``at`` to ``end``; return False if it is for others.

        Raises: ``UnexpectedFrame`` for one that cannot come here.
        """
        message = self._message
        if kind == _METHOD:
            if buffer[at : at + 4] != _DELIVER:
                return False
            if message is not None:
                raise UnexpectedFrame("a message begins before the last one has ended")
            self._message = _delivery(buffer, at + 4, end)
        elif message is None:
            return False
        elif kind == _HEADER:
            self._missing = _header(message, buffer, at, end)
            if not self._missing:
                self._finish(message)
        elif kind == _BODY:
            self._missing -= end - at
            if self._missing > 0:
                self._parts.append(buffer[at:end])
            elif self._missing < 0:
                raise UnexpectedFrame("a body is longer than its header says")
            elif self._parts:
                message.body = b"".join([*self._parts, buffer[at:end]])
                self._parts.clear()
                self._finish(message)
            else:
                message.body = buffer[at:end]
                self._finish(message)
        else:
            return False
        return True

    def _finish(self, message: Arrived) -> None:
        self._message = None
        self.has_news = True
        self._on_message(message)


def _delivery(buffer: bytes, at: int, end: int) -> Arrived:
    try:
        consumer, at = _short(buffer, at)
        handle, redelivered = _tag(buffer, at)
        exchange, at = _short(buffer, at + 9)
        routing_key, at = _short(buffer, at)
    except (StructError, IndexError) as error:
        raise UnexpectedFrame(f"a delivery ends too soon: {error}") from error
    if at != end:
        raise UnexpectedFrame("a delivery does not end with its frame")
    return Arrived(consumer, handle, bool(redelivered & 1), exchange, routing_key, {}, b"")


def _short(buffer: bytes, at: int) -> tuple[str, int]:
    stop = at + 1 + buffer[at]
    return buffer[at + 1 : stop].decode("utf-8", "ignore"), stop


def _header(message: Arrived, buffer: bytes, at: int, end: int) -> int:
    """Read a content header; return the size of the body."""
    if end - at < _CONTENT_BYTES:
        raise UnexpectedFrame("a content header is too short")
    kind, _, size = _content(buffer, at)
    if kind != _BASIC:
        raise UnexpectedFrame(f"a content header of class {kind}")
    try:
        message.properties = read_properties(buffer, at + _CONTENT_BYTES, end)
    except ProtocolError as error:
        # The server let it pass, and would send it again and again: somebody has to take it.
        message.unreadable = f"{error}: ".encode() + buffer[at + _CONTENT_BYTES : end]
    return int(size)


class Reader:
    """The reading half of one connection of py-amqp.  Not thread-safe.

    Handlers that py-amqp calls may wait for answers, and so read here again: the position in the buffer is
    moved on before a frame is handed over.
    """

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._transport = connection.transport
        self._inboxes: dict[int, Inbox] = {}
        self._buffer: bytes = self._transport._read_buffer
        self._at = 0
        connection.drain_events = self.wait

    def deliver(self, channel: Any, on_message: Callable[[Arrived], None], wake: Callable[[], None]) -> None:
        """Hand the messages for all consumers of a channel to ``on_message``; ``wake`` as in ``Inbox``."""
        self._inboxes[channel.channel_id] = Inbox(on_message, wake)

    def pump(self) -> None:
        """Dispatch everything that has come, without waiting.  Raises: what py-amqp raises."""
        self._dispatch()
        self._read_all()
        self._take_news()  # the pumping code looks for them

    def _take_news(self) -> list[Inbox]:
        found = [inbox for inbox in self._inboxes.values() if inbox.has_news]
        for inbox in found:
            inbox.has_news = False
        return found

    def _read_all(self) -> None:
        sock = self._transport.sock
        encrypted = isinstance(sock, ssl.SSLSocket)
        before = sock.gettimeout()
        while True:
            try:
                sock.settimeout(0.0)
                data = sock.recv(_READ_BYTES)
            except (BlockingIOError, ssl.SSLWantReadError):
                return
            finally:
                sock.settimeout(before)
            self.feed(data)
            # A short read has emptied a plain socket; encrypted data comes in records.
            if len(data) < _READ_BYTES and not encrypted:
                return

    def wait(self, timeout: float | None = None) -> None:
        """Dispatch the frames that have come; without any, wait for some, as py-amqp's ``drain_events``.

        Raises: ``TimeoutError``, and py-amqp's own errors.
        """
        while not self._dispatch():
            with self._transport.having_timeout(timeout) as sock:
                try:
                    data = sock.recv(_READ_BYTES)
                except (BlockingIOError, ssl.SSLWantReadError) as error:
                    raise TimeoutError("the server does not answer") from error
            self._extend(data)
        for inbox in self._take_news():
            inbox.wake()

    def feed(self, data: bytes) -> None:
        """Take in what was read from the socket, and dispatch what is whole.  Raises: what py-amqp raises."""
        self._extend(data)
        self._dispatch()

    def _extend(self, data: bytes) -> None:
        if not data:
            raise ConnectionResetError("the server closed the connection")
        self._buffer = self._buffer[self._at :] + data
        self._at = 0

    def _dispatch(self) -> bool:
        """Hand on all whole frames; return whether there were any."""
        buffer = self._buffer
        at = self._at
        end = len(self._buffer)
        connection = self._connection
        inboxes = self._inboxes
        found = False
        while end - at >= _AROUND_BYTES:
            kind, channel, size = _head(buffer, at)
            stop = at + _AROUND_BYTES + size
            if stop > end:
                if size > (connection.frame_max or size):
                    raise UnexpectedFrame(f"a frame of {size} bytes; agreed were {connection.frame_max}")
                break
            if buffer[stop - 1] != _FRAME_END:
                raise UnexpectedFrame("a frame does not end where it should")
            found = True
            self._at = stop
            inbox = inboxes.get(channel)
            if inbox is not None and inbox.take(kind, buffer, at + _HEAD_BYTES, stop - 1):
                connection.bytes_recv += 1
                at = stop
            else:
                self._hand_over(kind, channel, buffer[at + _HEAD_BYTES : stop - 1])
                buffer = self._buffer
                at = self._at
                end = len(self._buffer)
        return found

    def _hand_over(self, kind: int, channel: int, payload: bytes) -> None:
        try:
            self._connection.on_inbound_frame((kind, channel, payload))
        except (LookupError, TypeError, ValueError, StructError, RecursionError) as error:
            raise UnexpectedFrame(f"a frame of kind {kind} cannot be read: {error!r}") from error
