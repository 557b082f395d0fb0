"""An exclusive queue for remote control, its replies, and events, over kombu."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from taskd.base.errors import BrokerError
from taskd.brokers.base import ExchangeType
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.envelope import Arrived, opened, taken
from taskd.brokers.kombu.polling import Poll
from taskd.brokers.kombu.server import Server
from taskd.brokers.topology import MAX_WAITING_EVENTS
from taskd.protocol.delivery import Delivery


class ArrivalPoll(Protocol):
    """A descriptor that is readable when a connection may have brought something."""

    def set(self) -> None:
        """Make it readable."""

    def clear(self) -> None:
        """Make it unreadable until something may have come again."""

    def fileno(self) -> int:
        """Return the descriptor."""

    def close(self) -> None:
        """Release it."""


class KombuMailbox:
    """``Mailbox`` over one connection of a transport that has to be asked for messages."""

    def __init__(
        self, server: Server, queue: str, exchange: str, kind: ExchangeType, routing_key: str
    ) -> None:
        self._server = server
        self._queue = queue
        self._arrived: deque[Delivery] = deque(maxlen=MAX_WAITING_EVENTS)
        self.closed = False
        self._connect()
        try:
            with server.errors():
                self._declare(exchange, kind, routing_key)
                self._listen()
        except BaseException:
            self._end_connection()
            raise

    def _connect(self) -> None:
        self._link = self._server.connect()
        self._poll: ArrivalPoll = Poll()

    def _declare(self, exchange: str, kind: ExchangeType, routing_key: str) -> None:
        channel = self._channel = self._link.channel()
        naming.declare_exchange(channel, self._server, exchange, kind)
        if naming.ready_count(channel, self._queue) is not None:
            channel.queue_delete(self._queue)
        arguments = self._server.mailbox_arguments(MAX_WAITING_EVENTS)
        channel.queue_declare(queue=self._queue, durable=True, auto_delete=False, arguments=arguments)
        channel.queue_bind(queue=self._queue, exchange=exchange, routing_key=routing_key)

    def _listen(self) -> None:
        """Begin to receive; here ``_take`` asks."""

    def _take(self) -> None:
        """Hand each message that has come to ``_on_message``."""
        while (raw := self._channel.basic_get(self._queue, no_ack=True)) is not None:
            self._on_message(taken(raw))

    def _on_message(self, arrived: Arrived) -> None:
        self._arrived.append(opened(arrived, 0, self._queue).delivery)

    def receive(self) -> Sequence[Delivery]:
        """Return everything that has arrived.  Raises: ``BrokerError``; then make a new one."""
        self._poll.clear()
        with self._server.errors():
            self._take()
        found = list(self._arrived)
        self._arrived.clear()
        return found

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._poll.fileno()

    def close(self) -> None:
        """Delete the queue and its binding."""
        if self.closed:
            return
        try:
            with self._server.errors():
                self._delete()
        except BrokerError:
            pass  # it expires by itself
        finally:
            self._end_connection()

    def _delete(self) -> None:
        self._channel.queue_delete(self._queue)

    def _end_connection(self) -> None:
        self.closed = True
        self._poll.close()
        self._link.close()
