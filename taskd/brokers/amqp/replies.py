"""Replies over AMQP: messages to queues that others have made, and such a queue of one's own.

Celery's rpc results travel so.  A reply queue lives as long as somebody reads it, and some time longer: what
an interrupted connection has not handed out, the next one gets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

from taskd.base.errors import BrokerError
from taskd.brokers.amqp import wire
from taskd.brokers.amqp.mailbox import Pushed
from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.kombu.envelope import Arrived, Sealed, opened
from taskd.brokers.kombu.publisher import KombuPublisher
from taskd.protocol.delivery import Delivery

#: Messages in the connection of a process that does not read; the server keeps the rest.
_MOST_UNREAD = 1000


class AmqpReplySender(KombuPublisher):
    """``Publisher`` that makes no queue: what has nowhere to go is dropped.

    Messages are transient, as Celery's: a server that restarts loses those that nobody has read.
    """

    def _is_there(self, message: Sealed) -> bool:
        return True

    def _send(self, messages: Sequence[Sealed]) -> None:
        assert self._sender is not None
        self._sender([_transient(message) for message in messages])


def _transient(message: Sealed) -> Sealed:
    return msgspec.structs.replace(message, properties={**message.properties, "delivery_mode": 1})


class AmqpReplyBox:
    """``Mailbox`` that takes over what its queue holds already.  Closing leaves the queue to its expiry."""

    def __init__(self, server: AmqpServer, queue: str, expires_s: float) -> None:
        self._server = server
        self._queue = queue
        self._arrived: deque[Delivery] = deque()
        self._last = 0
        self.closed = False
        self._link = server.connect()
        self._poll = Pushed(self._link)
        try:
            with server.errors():
                self._channel = self._link.channel()
                # Durable, for RabbitMQ gives up transient queues that are not exclusive; and not exclusive,
                # for such a one ends with the connection.
                self._channel.queue_declare(
                    queue=queue,
                    durable=True,
                    auto_delete=False,
                    arguments={"x-expires": max(1, int(expires_s * 1000))},
                )
                self._link.deliver(self._channel, self._on_message, self._poll.set)
                self._channel.basic_qos(0, _MOST_UNREAD, a_global=False)
                self._channel.basic_consume(queue, consumer_tag="replies")
        except BaseException:
            self.close()
            raise

    def _on_message(self, arrived: Arrived) -> None:
        self._arrived.append(opened(arrived, 0, self._queue).delivery)
        self._last = int(arrived.handle)

    def receive(self) -> Sequence[Delivery]:
        """Return everything that has arrived.  Raises: ``BrokerError``; then make a new one."""
        if self.closed:
            raise BrokerError(f"{self._server.shown}: this reply queue is closed")
        self._poll.clear()
        self._link.pump()
        found = list(self._arrived)
        self._arrived.clear()
        if found:
            with self._server.errors():
                wire.acknowledge(self._channel, self._last, ())
        return found

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._poll.fileno()

    def close(self) -> None:
        """End the connection."""
        if not self.closed:
            self.closed = True
            self._poll.close()
            self._link.close()
