"""The broker over kombu as ``factory.connect`` returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from taskd.brokers.base import ExchangeType
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.desk import KombuDesk
from taskd.brokers.kombu.events import KombuEventSender
from taskd.brokers.kombu.intake import KombuIntake
from taskd.brokers.kombu.mailbox import KombuMailbox
from taskd.brokers.kombu.publisher import KombuPublisher
from taskd.brokers.kombu.pulled import PulledSource
from taskd.brokers.kombu.server import Server
from taskd.brokers.kombu.source import Source
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.config.choosing import broker_kind
from taskd.config.stores import Stores


class Opened(Protocol):
    """A part of a broker with a connection of its own."""

    closed: bool

    def close(self) -> None:
        """Release the connection."""


Part = TypeVar("Part", bound=Opened)


class KombuBroker:
    """``Broker`` over kombu; every part has a connection of its own."""

    def __init__(self, server: Server) -> None:
        self.url = server.url
        self.kind = broker_kind(self.url)
        self._server = server
        self._parts: list[Opened] = []

    def _keep(self, part: Part) -> Part:
        self._parts = [known for known in self._parts if not known.closed]
        self._parts.append(part)
        return part

    def intake(self, owner: str, queues: Sequence[str], *, lease_s: float = 10.0) -> KombuIntake:
        """Open a channel for the claims of ``owner``.

        A former generation of the name is not fenced off: its claims return when its connection ends.
        """
        source = self._source(queues, lease_s)
        return self._keep(KombuIntake(self._server, owner, queues, source, lease_s=lease_s))

    def _source(self, queues: Sequence[str], lease_s: float) -> Source:
        return PulledSource(self._server, queues)

    def publisher(self) -> KombuPublisher:
        """Return a publisher of its own; it connects at the first message."""
        return self._keep(KombuPublisher(self._server))

    def mailbox(
        self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str = ""
    ) -> KombuMailbox:
        """Make and bind a mailbox; an old one of the same name is taken over, its messages dropped."""
        return self._keep(KombuMailbox(self._server, queue, exchange, exchange_type, routing_key))

    def event_sender(self) -> KombuEventSender:
        """Return a sender of events; it connects at first use."""
        return self._keep(KombuEventSender(self._server))

    def event_box(self, queue: str, routing_key: str = "#") -> KombuMailbox:
        """Make a mailbox for events of these routing keys."""
        return self.mailbox(queue, EVENT_EXCHANGE, "topic", routing_key)

    def bind(self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str) -> None:
        """Bind a durable queue to an exchange."""
        link = self._server.connect()
        try:
            with self._server.errors():
                channel = link.channel()
                naming.declare_exchange(channel, self._server, exchange, exchange_type)
                naming.declare_queue(channel, self._server, queue)
                channel.queue_bind(queue=queue, exchange=exchange, routing_key=routing_key)
        finally:
            link.close()

    def desk(self) -> KombuDesk:
        """Return the operator's view."""
        return self._keep(KombuDesk(self._server))

    def close(self) -> None:
        """Close everything that was opened here.  May be called twice."""
        for part in self._parts:
            part.close()
        self._parts.clear()


def open_broker(url: str, stores: Stores) -> KombuBroker:
    """Return the broker of a URL; nothing is connected yet."""
    return KombuBroker(Server(url, stores.amqp))
