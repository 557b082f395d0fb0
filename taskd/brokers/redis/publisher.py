"""Publishing to Redis: one trip a call, all messages or none."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from taskd.base import forks
from taskd.base.errors import StorageError
from taskd.brokers.redis.posting import Exchanges, grouped, place
from taskd.brokers.redis.store import BrokerDatabase
from taskd.protocol.delivery import Outgoing
from taskd.storage.redis.line import Command, Reply
from taskd.storage.redis.link import RedisLink


class RedisPublisher:
    """``Publisher`` over one connection, which is opened at the first message.

    Threads take turns.  A forked child opens a connection of its own.
    """

    def __init__(self, store: BrokerDatabase) -> None:
        self._store = store
        self.closed = False
        forks.renew(self)

    def renew(self) -> None:
        """Start with a lock and a connection of its own."""
        self._lock = threading.Lock()
        self._link = self._store.link()
        self._exchanges = Exchanges(self._store, self._link)
        self._known: set[str] = set()

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Push all messages in one transaction."""
        if self.closed:
            raise StorageError("this publisher is closed; ask the broker for a new one")
        with self._lock:
            self._publish(messages)

    def _publish(self, messages: Sequence[Outgoing]) -> None:
        commands: list[Command] = []
        new: set[str] = set()
        for message in messages:
            if message.exchange:
                commands += self._exchanges.commands(message)
            else:
                commands.append(place(self._store, message, message.routing_key))
                if message.routing_key not in self._known:
                    new.add(message.routing_key)
        if len(commands) > 1:
            commands = grouped(commands)
        if new:
            commands.append(("SADD", self._store.keys.queues, *sorted(new)))
        if commands:
            send(self._link, commands)
        self._known |= new

    def close(self) -> None:
        """Release the connection."""
        self.closed = True
        with self._lock:
            self._link.close()


def send(link: RedisLink, commands: Sequence[Command]) -> list[Reply]:
    """Send commands that belong together: several as one transaction.  Return their replies."""
    if len(commands) == 1:
        return link.pipeline(commands)
    return link.pipeline([("MULTI",), *commands, ("EXEC",)])[-1]  # type: ignore[no-any-return]
