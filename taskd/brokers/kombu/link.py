"""One connection of kombu that is never made anew behind our back, as kombu's own does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kombu.connection import Connection

from taskd.base.errors import BrokerError
from taskd.brokers.kombu.address import BROKER_ERRORS, Address
from taskd.brokers.kombu.envelope import Arrived
from taskd.brokers.kombu.frames import Reader


class Link:
    """Open from the start.  Not thread-safe.

    ``heartbeat_s``: after how long without a sign each side gives the other up; 0 for never.
    Raises: ``BrokerError`` when it cannot connect.
    """

    def __init__(self, address: Address, heartbeat_s: float = 0.0) -> None:
        self._address = address
        self._pushes = address.pushes
        self._kombu = Connection(
            address.kombu_url,
            connect_timeout=address.config.timeout,
            heartbeat=int(heartbeat_s),
            transport_options=address.transport_options(),
        )
        with address.errors():
            self._raw: Any = self._kombu.transport.establish_connection()
        self._reader = Reader(self._raw) if self._pushes else None

    def channel(self) -> Any:
        """Return a new channel, which leaves bodies as they are.  Raises: what the transport raises."""
        channel = self._kombu.transport.create_channel(self._raw)
        channel.auto_decode = False
        return channel

    def deliver(self, channel: Any, on_message: Callable[[Arrived], None], wake: Callable[[], None]) -> None:
        """Hand what an AMQP server pushes to a channel to ``on_message``, which must not wait.

        ``wake`` is called after some came while this connection waited for something else.
        """
        if self._reader is not None:
            self._reader.deliver(channel, on_message, wake)

    @property
    def alive(self) -> bool:
        """Whether nobody has closed it, as far as is known here."""
        return not self._pushes or bool(self._raw.connected)

    def fileno(self) -> int:
        """Return the descriptor of AMQP's socket."""
        return int(self._raw.transport.sock.fileno())

    def pump(self) -> None:
        """Dispatch what an AMQP server has sent, without waiting.  Raises: ``BrokerError``."""
        if not self.alive:
            raise BrokerError(f"{self._address.shown}: the connection is closed")
        if self._reader is not None:
            with self._address.errors():
                self._reader.pump()

    def beat(self) -> None:
        """Send a heartbeat if one is due.  Raises: ``BrokerError`` when none has come for too long."""
        with self._address.errors():
            self._raw.heartbeat_tick()

    def close(self) -> None:
        """End the connection, whatever state it is in.  May be called twice."""
        raw, self._raw = self._raw, None
        if raw is None:
            return
        try:
            self._kombu.transport.close_connection(raw)
        except BROKER_ERRORS:
            pass  # it is lost, and so it is closed
        finally:
            if self._pushes:
                raw.collect()
