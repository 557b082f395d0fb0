"""Events over kombu: published without waiting for a confirmation, for they may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taskd.base.errors import BrokerError
from taskd.brokers.kombu import naming, pulled, wire
from taskd.brokers.kombu.address import Address
from taskd.brokers.kombu.envelope import Sealed, seal
from taskd.brokers.kombu.link import Link
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.protocol.delivery import Outgoing


class GenericEventSender:
    """``EventSender`` over one connection, opened at first use."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._link: Link | None = None
        self._channel: Any = None
        self.closed = False

    def listened(self) -> bool:
        """Return True: AMQP does not tell who is bound to an exchange."""
        return True

    def send(self, events: Sequence[Outgoing]) -> None:
        """Send all events."""
        try:
            with self._address.errors():
                self._send(events)
        except BrokerError:
            self._disconnect()
            raise

    def _send(self, events: Sequence[Outgoing]) -> None:
        if self._link is None:
            self._link = Link(self._address)
            self._channel = self._link.channel()
            naming.declare_exchange(self._channel, self._address, EVENT_EXCHANGE, "topic")
        sealed = [_transient(seal(event)) for event in events]
        if self._address.pushes:
            self._link.pump()
            wire.send(self._channel, sealed, mandatory=False)
        else:
            for message in sealed:
                pulled.publish(self._channel, message)

    def _disconnect(self) -> None:
        link, self._link, self._channel = self._link, None, None
        if link is not None:
            link.close()

    def close(self) -> None:
        """Release the connection."""
        self.closed = True
        self._disconnect()


def _transient(message: Sealed) -> Sealed:
    return msgspec.structs.replace(message, properties={**message.properties, "delivery_mode": 1})
