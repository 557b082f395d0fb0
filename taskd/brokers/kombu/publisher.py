"""Publishing over kombu: a call is sent whole, then its confirmations are awaited."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from amqp.exceptions import NotFound
from kombu.exceptions import ChannelError as VirtualChannelError

from taskd.base import forks
from taskd.base.errors import BrokerError
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.envelope import Sealed, seal
from taskd.brokers.kombu.link import KombuLink, Send
from taskd.brokers.kombu.server import Server
from taskd.brokers.topology import OWN_EXCHANGES
from taskd.protocol.delivery import Outgoing


class KombuPublisher:
    """``Publisher`` over one connection, which is opened at the first message and after each trouble.

    Threads take turns.  A forked child opens a connection of its own.  Several messages of one call are not
    atomic, for AMQP has nothing of the kind: after an error some of them may have been sent.
    """

    def __init__(self, server: Server) -> None:
        self._server = server
        self.closed = False
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock and a connection of its own."""
        self._lock = threading.Lock()
        self._link: KombuLink | None = None
        self._side: Any = None
        self._sender: Send | None = None
        #: Queues and exchanges that are known to exist.
        self._queues: set[str] = set()
        self._exchanges: set[str] = set()

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Send all messages; return when the server has taken charge of them."""
        if self.closed:
            raise BrokerError("this publisher is closed; ask the broker for a new one")
        sealed = [seal(message) for message in messages]
        with self._lock:
            try:
                self._publish_anew(sealed)
            except BrokerError:
                self._disconnect()
                raise

    def _publish_anew(self, messages: Sequence[Sealed]) -> None:
        """Send; over a connection that has turned out dead before anything was sent, once more."""
        if self._link is not None and not self._link.is_alive():
            self._disconnect()
        if self._link is None:
            self._connect()
        with self._server.errors():
            known = [message for message in messages if self._is_there(message)]
            if known:
                self._send(known)

    def _connect(self) -> None:
        link = self._link = self._server.connect()
        with self._server.errors():
            self._side = link.channel()
            self._sender = link.sender(self._side)

    def _is_there(self, message: Sealed) -> bool:
        """Make the queue of a message if it is missing; return False for an exchange that does not exist."""
        if message.exchange:
            return self._is_exchange(message.exchange)
        if message.routing_key not in self._queues:
            made = naming.declare_queue(self._side, self._server, message.routing_key)
            if made and not message.routing_key.startswith("taskd."):
                naming.register(self._side, self._send, self._server, [message.routing_key])
            self._queues.add(message.routing_key)
        return True

    def _is_exchange(self, name: str) -> bool:
        if name in self._exchanges:
            return True
        kind = OWN_EXCHANGES.get(name)
        if kind is not None:
            naming.declare_exchange(self._side, self._server, name, kind)
        else:
            try:
                self._side.exchange_declare(exchange=name, type="direct", passive=True)
            except (NotFound, VirtualChannelError):
                return False
        self._exchanges.add(name)
        return True

    def _send(self, messages: Sequence[Sealed]) -> None:
        assert self._sender is not None
        naming.publish_somewhere(self._sender, self._side, self._server, messages)

    def _disconnect(self) -> None:
        link, self._link, self._sender = self._link, None, None
        self._queues.clear()
        self._exchanges.clear()
        if link is not None:
            link.close()

    def close(self) -> None:
        """Release the connection."""
        self.closed = True
        with self._lock:
            self._disconnect()
