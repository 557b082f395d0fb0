"""Events on Redis: published to channels, where who listens hears them and nobody else keeps them."""

from __future__ import annotations

from collections.abc import Sequence

from taskd.brokers.redis.envelope import seal
from taskd.brokers.redis.store import BrokerDatabase
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.protocol.delivery import Outgoing


class RedisEventSender:
    """``EventSender`` over one connection."""

    def __init__(self, store: BrokerDatabase) -> None:
        self._store = store
        self._link = store.link()

    @property
    def closed(self) -> bool:
        """Whether it was closed."""
        return self._link.closed

    def listened(self) -> bool:
        """Return whether anybody subscribes to patterns of channels, as everybody who listens does."""
        return int(self._link.call("PUBSUB", "NUMPAT")) > 0

    def send(self, events: Sequence[Outgoing]) -> None:
        """Publish all events in one trip."""
        channel = self._store.keys.channel
        self._link.pipeline(
            [
                ("PUBLISH", channel(EVENT_EXCHANGE, event.routing_key), seal(event, event.routing_key))
                for event in events
            ]
        )

    def close(self) -> None:
        """Release the connection."""
        self._link.close()
