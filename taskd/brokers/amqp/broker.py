"""RabbitMQ as ``factory.connect`` returns it."""

from __future__ import annotations

from collections.abc import Sequence

from taskd.brokers.amqp.mailbox import AmqpMailbox
from taskd.brokers.amqp.pushed import PushedSource
from taskd.brokers.amqp.replies import AmqpReplyBox, AmqpReplySender
from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.amqp.watch import AmqpWatch
from taskd.brokers.base import ExchangeType
from taskd.brokers.kombu.broker import KombuBroker
from taskd.brokers.kombu.source import Source
from taskd.config.stores import Stores


class AmqpBroker(KombuBroker):
    """``Broker`` over AMQP, which can carry results as replies too."""

    _server: AmqpServer

    def __init__(self, server: AmqpServer) -> None:
        super().__init__(server)

    def _source(self, queues: Sequence[str], lease_s: float) -> Source:
        return PushedSource(self._server, queues, lease_s)

    def mailbox(
        self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str = ""
    ) -> AmqpMailbox:
        """Make and bind a mailbox; an old one of the same name is taken over, its messages dropped."""
        return self._keep(AmqpMailbox(self._server, queue, exchange, exchange_type, routing_key))

    def reply_sender(self) -> AmqpReplySender:
        """Return a publisher to queues that exist."""
        return self._keep(AmqpReplySender(self._server))

    def reply_box(self, queue: str, expires_s: float) -> AmqpReplyBox:
        """Open a queue for replies, made if missing."""
        return self._keep(AmqpReplyBox(self._server, queue, expires_s))

    def watch(self, queues: Sequence[str]) -> AmqpWatch:
        """Look at the messages that are published to these queues from now on."""
        return self._keep(AmqpWatch(self._server, queues))


def open_broker(url: str, stores: Stores) -> AmqpBroker:
    """Return the broker of a URL; nothing is connected yet."""
    return AmqpBroker(AmqpServer(url, stores.amqp))
