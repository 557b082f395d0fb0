"""The Redis broker as ``factory.connect`` returns it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from taskd.brokers.base import ExchangeType
from taskd.brokers.redis.desk import RedisDesk
from taskd.brokers.redis.events import RedisEventSender
from taskd.brokers.redis.intake import RedisIntake
from taskd.brokers.redis.keys import Keys
from taskd.brokers.redis.mailbox import RedisMailbox, bind
from taskd.brokers.redis.once import RedisOnce
from taskd.brokers.redis.publisher import RedisPublisher
from taskd.brokers.redis.store import BrokerDatabase
from taskd.brokers.redis.watch import RedisWatch
from taskd.brokers.timing import Timing
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.config.built_in import REDIS
from taskd.config.stores import FailuresConfig, RedisConfig, Stores
from taskd.storage.redis.address import address_of

_Any = RedisIntake | RedisPublisher | RedisMailbox | RedisEventSender | RedisDesk | RedisOnce | RedisWatch
Part = TypeVar("Part", bound=_Any)


class RedisBroker:
    """``Broker`` over one database; every part has connections of its own."""

    kind = REDIS

    def __init__(
        self,
        url: str,
        config: RedisConfig,
        timing: Timing | None = None,
        failures: FailuresConfig | None = None,
    ) -> None:
        """Raises: ``StorageError`` for a URL that names no server; nothing is connected yet."""
        self.url = url
        address = address_of(url, timeout_s=config.timeout, master=config.master)
        self._store = BrokerDatabase(
            address,
            Keys(config.key_prefix, address.database),
            timing,
            config.visibility_timeout,
            failures or FailuresConfig(),
        )
        self._parts: list[_Any] = []

    def _keep(self, part: Part) -> Part:
        self._parts = [known for known in self._parts if not known.closed]
        self._parts.append(part)
        return part

    def intake(self, owner: str, queues: Sequence[str], *, lease_s: float = 10.0) -> RedisIntake:
        """Open the claims of a new generation of ``owner``; fences off and releases the former one."""
        return self._keep(RedisIntake(self._store, owner, queues, lease_s=lease_s))

    def publisher(self) -> RedisPublisher:
        """Return a publisher of its own; it connects at the first message."""
        return self._keep(RedisPublisher(self._store))

    def once(self) -> RedisOnce:
        """Return a publisher that sends no id twice; it is connected."""
        return self._keep(RedisOnce(self._store))

    def mailbox(
        self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str = ""
    ) -> RedisMailbox:
        """Make and bind a mailbox; an old one of the same name is taken over, its messages dropped."""
        return self._keep(RedisMailbox(self._store, queue, exchange, exchange_type, routing_key))

    def event_sender(self) -> RedisEventSender:
        """Return a sender of events; it connects at first use."""
        return self._keep(RedisEventSender(self._store))

    def event_box(self, queue: str, routing_key: str = "#") -> RedisMailbox:
        """Make a mailbox for events of these routing keys."""
        return self.mailbox(queue, EVENT_EXCHANGE, "fanout", routing_key)

    def bind(self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str) -> None:
        """Bind a durable queue to an exchange."""
        bind(self._store, queue, exchange, exchange_type, routing_key)

    def desk(self) -> RedisDesk:
        """Return the operator's view."""
        return self._keep(RedisDesk(self._store))

    def watch(self, queues: Sequence[str]) -> RedisWatch:
        """Look at the messages of these queues from now on, and at those that wait."""
        return self._keep(RedisWatch(self._store, queues))

    def close(self) -> None:
        """Close everything that was opened here.  May be called twice."""
        for part in self._parts:
            part.close()
        self._parts.clear()


def open_broker(url: str, stores: Stores) -> RedisBroker:
    """Return the broker of a URL; nothing is connected yet."""
    return RedisBroker(url, stores.redis, failures=stores.failures)
