"""One connection of kombu that is never made anew behind our back, as kombu's own does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kombu.connection import Connection

from taskd.brokers.kombu.envelope import Sealed
from taskd.brokers.kombu.errors import BROKER_ERRORS

#: Sends messages until the server has taken charge of them; returns those to a queue that does not exist.
Send = Callable[[Sequence[Sealed]], Sequence[Sealed]]


class KombuLink:
    """Open from the start.  Not thread-safe.  Raises: what the transport raises."""

    def __init__(self, kombu: Connection) -> None:
        self._kombu = kombu
        self._raw: Any = kombu.transport.establish_connection()

    def channel(self) -> Any:
        """Return a new channel, which leaves bodies as they are."""
        channel = self._kombu.transport.create_channel(self._raw)
        channel.auto_decode = False
        return channel

    def is_alive(self) -> bool:
        """Return whether a connection that was idle has not been closed meanwhile, as far as it can tell."""
        return True

    def sender(self, channel: Any) -> Send:
        """Return what sends messages over a channel of this connection."""

        def send(messages: Sequence[Sealed]) -> Sequence[Sealed]:
            for message in messages:
                publish(channel, message)
            return ()

        return send

    def send_unconfirmed(self, channel: Any, messages: Sequence[Sealed]) -> None:
        """Send messages that may be lost."""
        for message in messages:
            publish(channel, message)

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
            self._forget(raw)

    def _forget(self, raw: Any) -> None:
        """Release what a closed connection holds; virtual transports hold nothing."""


def publish(channel: Any, message: Sealed) -> None:
    """Send one message over a channel of a virtual transport."""
    properties = dict(message.properties)
    raw = channel.prepare_message(
        message.body,
        priority=properties.pop("priority", 0),
        content_type=properties.pop("content_type", None),
        content_encoding=properties.pop("content_encoding", None),
        headers=dict(message.headers),
        properties=properties,
    )
    channel.basic_publish(raw, exchange=message.exchange, routing_key=message.routing_key)
