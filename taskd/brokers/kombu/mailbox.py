"""An exclusive queue for remote control, its replies, and events, over kombu."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from taskd.base.errors import BrokerError
from taskd.base.wakeup import AnyReadable, Wakeup
from taskd.brokers.base import ExchangeType
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.address import Address
from taskd.brokers.kombu.envelope import Arrived, opened, taken
from taskd.brokers.kombu.link import Link
from taskd.brokers.kombu.polling import Poll
from taskd.brokers.topology import MAX_WAITING_EVENTS
from taskd.protocol.delivery import Delivery


class GenericMailbox:
    """``Mailbox`` over one connection."""

    def __init__(
        self, address: Address, queue: str, exchange: str, kind: ExchangeType, routing_key: str
    ) -> None:
        self._address = address
        self._queue = queue
        self._arrived: deque[Delivery] = deque(maxlen=MAX_WAITING_EVENTS)
        self._consumer = "mailbox"
        self.closed = False
        self._link = Link(address)
        self._poller = AnyReadable()
        self._wakeup: Wakeup | Poll = Wakeup() if address.pushes else Poll()
        try:
            self._poller.add(self._wakeup.fileno())
            with address.errors():
                self._channel = self._link.channel()
                self._declare(exchange, kind, routing_key)
                if address.pushes:
                    self._poller.add(self._link.fileno())
                    self._link.deliver(self._channel, self._on_message, self._wakeup.set)
                    self._channel.basic_consume(queue, consumer_tag=self._consumer, no_ack=True)
        except BaseException:
            self._end_connection()
            raise

    def _declare(self, exchange: str, kind: ExchangeType, routing_key: str) -> None:
        channel = self._channel
        naming.declare_exchange(channel, self._address, exchange, kind)
        if naming.ready_count(channel, self._queue) is not None:
            channel.queue_delete(self._queue)
        arguments = {"x-expires": naming.MAILBOX_EXPIRES_MS, "x-max-length": MAX_WAITING_EVENTS}
        channel.queue_declare(
            queue=self._queue,
            durable=True,
            auto_delete=False,
            arguments=arguments if self._address.pushes else {},
        )
        channel.queue_bind(queue=self._queue, exchange=exchange, routing_key=routing_key)

    def _on_message(self, arrived: Arrived) -> None:
        self._arrived.append(opened(arrived, 0, self._queue).delivery)

    def receive(self) -> Sequence[Delivery]:
        """Return everything that has arrived.  Raises: ``BrokerError``; then make a new one."""
        self._wakeup.clear()
        with self._address.errors():
            if self._address.pushes:
                self._link.pump()
            else:
                while (raw := self._channel.basic_get(self._queue, no_ack=True)) is not None:
                    self._on_message(taken(raw))
        found = list(self._arrived)
        self._arrived.clear()
        return found

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._poller.fileno()

    def close(self) -> None:
        """Delete the queue and its binding."""
        if self.closed:
            return
        try:
            with self._address.errors():
                if self._address.pushes:
                    self._channel.basic_cancel(self._consumer)
                self._channel.queue_delete(self._queue)
        except BrokerError:
            pass  # it expires by itself
        finally:
            self._end_connection()

    def _end_connection(self) -> None:
        self.closed = True
        self._poller.close()
        self._wakeup.close()
        self._link.close()
