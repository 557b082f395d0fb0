"""One AMQP connection: its socket is watched, and read without py-amqp."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from kombu.connection import Connection

from taskd.base.errors import BrokerError
from taskd.brokers.amqp import wire
from taskd.brokers.amqp.frames import Reader
from taskd.brokers.kombu.envelope import Arrived, Sealed
from taskd.brokers.kombu.link import KombuLink, Send


class AmqpLink(KombuLink):
    """A ``KombuLink`` to a server that pushes.  ``errors`` turns py-amqp's errors into ``BrokerError``."""

    def __init__(
        self, kombu: Connection, shown: str, errors: Callable[[], AbstractContextManager[None]]
    ) -> None:
        super().__init__(kombu)
        self._shown = shown
        self._errors = errors
        self._reader = Reader(self._raw)

    def deliver(self, channel: Any, on_message: Callable[[Arrived], None], wake: Callable[[], None]) -> None:
        """Hand the messages that the server pushes to a channel to ``on_message``, which must not wait.

        ``wake`` is called after some came while this connection waited for something else.
        """
        self._reader.deliver(channel, on_message, wake)

    def fileno(self) -> int:
        """Return the descriptor of the socket."""
        return int(self._raw.transport.sock.fileno())

    def pump(self) -> None:
        """Dispatch what the server has sent, without waiting.  Raises: ``BrokerError``."""
        if not self._raw.connected:
            raise BrokerError(f"{self._shown}: the connection is closed")
        with self._errors():
            self._reader.pump()

    def is_alive(self) -> bool:
        """Return whether a connection that was idle has not been closed meanwhile."""
        try:
            self.pump()
        except BrokerError:
            return False
        return bool(self._raw.connected)

    def beat(self) -> None:
        """Send a heartbeat if one is due.  Raises: ``BrokerError`` when none has come for too long."""
        with self._errors():
            self._raw.heartbeat_tick()

    def sender(self, channel: Any) -> Send:
        """Return what sends messages over a channel of its own, whose confirmations it awaits."""
        return wire.Confirming(self.channel()).publish

    def send_unconfirmed(self, channel: Any, messages: Sequence[Sealed]) -> None:
        """Send messages that may be lost, in one write."""
        self.pump()
        wire.send(channel, messages, mandatory=False)

    def _forget(self, raw: Any) -> None:
        raw.collect()
