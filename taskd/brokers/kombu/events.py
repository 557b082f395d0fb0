"""Events over kombu: published without waiting for a confirmation, for they may be lost."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from taskd.base.errors import BrokerError
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.envelope import Sealed, seal
from taskd.brokers.kombu.link import KombuLink
from taskd.brokers.kombu.server import Server
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.protocol.delivery import Outgoing


class KombuEventSender:
    """``EventSender`` over one connection, opened at first use."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._link: KombuLink | None = None
        self._channel: Any = None
        self.closed = False

    def listened(self) -> bool:
        """Return True: AMQP does not tell who is bound to an exchange."""
        return True

    def send(self, events: Sequence[Outgoing]) -> None:
        """Send all events."""
        try:
            with self._server.errors():
                self._send(events)
        except BrokerError:
            self._disconnect()
            raise

    def _send(self, events: Sequence[Outgoing]) -> None:
        if self._link is None:
            self._link = self._server.connect()
            self._channel = self._link.channel()
            naming.declare_exchange(self._channel, self._server, EVENT_EXCHANGE, "topic")
        self._link.send_unconfirmed(self._channel, [_transient(seal(event)) for event in events])

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
