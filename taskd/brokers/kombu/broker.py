"""The broker over kombu as ``factory.connect`` returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from taskd.brokers.base import ExchangeType
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.address import Address
from taskd.brokers.kombu.desk import GenericDesk
from taskd.brokers.kombu.events import GenericEventSender
from taskd.brokers.kombu.intake import GenericIntake
from taskd.brokers.kombu.link import Link
from taskd.brokers.kombu.mailbox import GenericMailbox
from taskd.brokers.kombu.publisher import GenericPublisher
from taskd.brokers.kombu.pulled import PulledSource
from taskd.brokers.kombu.pushed import PushedSource
from taskd.brokers.kombu.replies import GenericReplyBox, GenericReplySender
from taskd.brokers.topology import EVENT_EXCHANGE

_Any = GenericIntake | GenericPublisher | GenericMailbox | GenericReplyBox | GenericEventSender | GenericDesk
Part = TypeVar("Part", bound=_Any)


class GenericBroker:
    """``Broker`` over kombu; every part has a connection of its own."""

    spans_hosts = True
    intake_class = GenericIntake

    def __init__(self, address: Address) -> None:
        self.url = address.url
        self._address = address
        self._parts: list[_Any] = []

    def _keep(self, part: Part) -> Part:
        self._parts = [known for known in self._parts if not known.closed]
        self._parts.append(part)
        return part

    def intake(self, owner: str, queues: Sequence[str], *, lease_s: float = 10.0) -> GenericIntake:
        """Open a channel for the claims of ``owner``.

        A former generation of the name is not fenced off: its claims return when its connection ends.
        """
        source = PushedSource(self._address, queues, lease_s) if self._address.pushes else None
        return self._keep(
            self.intake_class(
                self._address, owner, queues, source or PulledSource(self._address, queues), lease_s=lease_s
            )
        )

    def publisher(self) -> GenericPublisher:
        """Return a publisher of its own; it connects at the first message."""
        return self._keep(GenericPublisher(self._address))

    def mailbox(
        self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str = ""
    ) -> GenericMailbox:
        """Make and bind a mailbox; an old one of the same name is taken over, its messages dropped."""
        return self._keep(GenericMailbox(self._address, queue, exchange, exchange_type, routing_key))

    def reply_sender(self) -> GenericReplySender:
        """Return a publisher to queues that exist."""
        return self._keep(GenericReplySender(self._address))

    def reply_box(self, queue: str, expires_s: float) -> GenericReplyBox:
        """Open a queue for replies, made if missing."""
        return self._keep(GenericReplyBox(self._address, queue, expires_s))

    def event_sender(self) -> GenericEventSender:
        """Return a sender of events; it connects at first use."""
        return self._keep(GenericEventSender(self._address))

    def event_box(self, queue: str, routing_key: str = "#") -> GenericMailbox:
        """Make a mailbox for events of these routing keys."""
        return self.mailbox(queue, EVENT_EXCHANGE, "topic", routing_key)

    def bind(self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str) -> None:
        """Bind a durable queue to an exchange."""
        link = Link(self._address)
        try:
            with self._address.errors():
                channel = link.channel()
                naming.declare_exchange(channel, self._address, exchange, exchange_type)
                naming.declare_queue(channel, self._address, queue)
                channel.queue_bind(queue=queue, exchange=exchange, routing_key=routing_key)
        finally:
            link.close()

    def desk(self) -> GenericDesk:
        """Return the operator's view."""
        return self._keep(GenericDesk(self._address))

    def close(self) -> None:
        """Close everything that was opened here.  May be called twice."""
        for part in self._parts:
            part.close()
        self._parts.clear()
