"""An exclusive queue for remote control, its replies, and events; it keeps nothing while nobody listens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from taskd.base.errors import BrokerError, StorageError
from taskd.brokers.base import ExchangeType
from taskd.brokers.redis import scripts
from taskd.brokers.redis.envelope import read
from taskd.brokers.redis.keys import SEPARATOR
from taskd.brokers.redis.posting import types
from taskd.brokers.redis.store import BrokerDatabase
from taskd.brokers.topology import MAX_WAITING_EVENTS
from taskd.protocol.delivery import Delivery
from taskd.storage.redis.link import RedisLink
from taskd.storage.redis.subscription import Subscription, tracked

_RECEIVE_AT_ONCE = 1000


class RedisMailbox:
    """``Mailbox``: a list for what is sent to its queue, and a channel where the exchange is a fanout."""

    def __init__(
        self, store: BrokerDatabase, queue: str, exchange: str, kind: ExchangeType, routing_key: str
    ) -> None:
        self._store = store
        self._queue = queue
        self._key = store.keys.queue(queue)
        self._exchange = exchange
        self._binding = ""
        self.closed = False
        patterns = []
        if kind == "fanout":
            patterns.append(store.keys.channel(exchange, routing_key.replace("#", "*")))
        else:
            pattern = _regex(routing_key) if kind == "topic" else ""
            self._binding = SEPARATOR.join((routing_key, pattern, queue))
        self._link = store.link()
        bindings = {store.keys.binding(exchange): self._binding} if self._binding else {}
        register(store, self._link, exchange, kind, bindings)
        self._subscription = Subscription(store.address, patterns=patterns)
        try:
            self._link.call("DEL", self._key)
            self._subscription.follow(self._link)
            self._link.pipeline(tracked((self._key,)))
        except BaseException:
            self._subscription.close()
            self._link.close()
            raise

    def receive(self) -> Sequence[Delivery]:
        """Return everything that has arrived.  Raises: ``StorageError``; then make a new one."""
        published = self._subscription.receive()[-MAX_WAITING_EVENTS:]
        found: list[bytes] = []
        while True:
            # Told of what comes from here on; then take what is there.
            take = scripts.TAKE.call((self._key,), (_RECEIVE_AT_ONCE,))
            batch = self._link.pipeline([*tracked((self._key,)), take], (scripts.TAKE,))[-1]
            found += reversed(batch)
            if len(batch) < _RECEIVE_AT_ONCE:
                break
        texts = [*(text for _, text in published), *found]
        return [read(text, 0, b"", self._queue, 0).delivery for text in texts]

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""
        return self._subscription.fileno()

    def close(self) -> None:
        """Delete the queue and its binding."""
        if self.closed:
            return
        self.closed = True
        try:
            self._link.call("DEL", self._key)
            if self._binding:
                self._link.call("SREM", self._store.keys.binding(self._exchange), self._binding)
        except StorageError:
            pass  # it stays, empty, until somebody uses the name again
        finally:
            self._subscription.close()
            self._link.close()


def register(
    store: BrokerDatabase, link: RedisLink, exchange: str, kind: ExchangeType, members: Mapping[str, str]
) -> None:
    """Note an exchange's type, and a member for each of some sets; a full server takes that too.

    Raises: ``BrokerError`` when the exchange has another type.
    """
    given = types().get(exchange)
    if given is not None and given != kind:
        raise BrokerError(f'exchange "{exchange}" exists with the type {given}, not {kind}')
    arguments = ("" if given else exchange, kind, *members.values())
    own = link.run(scripts.REGISTER, (store.keys.exchanges, *members), arguments).decode()
    if own != kind:
        raise BrokerError(f'exchange "{exchange}" exists with the type {own}, not {kind}')


def _regex(pattern: str) -> str:
    """Return a topic's pattern as kombu writes it into the set of bindings."""
    words = {"*": r".*?[^\.]", "#": r".*?"}
    return "^" + r"\.".join(words.get(word, word) for word in pattern.split(".")) + "$"


def bind(store: BrokerDatabase, queue: str, exchange: str, kind: ExchangeType, routing_key: str) -> None:
    """Bind a durable queue to an exchange; a second time does nothing."""
    link = store.link()
    try:
        pattern = _regex(routing_key) if kind == "topic" else ""
        member = SEPARATOR.join((routing_key, pattern, queue))
        register(
            store, link, exchange, kind, {store.keys.binding(exchange): member, store.keys.queues: queue}
        )
    finally:
        link.close()
