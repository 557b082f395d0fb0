"""The embedded broker as ``factory.connect`` returns it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import TypeVar

from taskd.brokers.base import ExchangeType
from taskd.brokers.sqlite.desk import SqliteDesk
from taskd.brokers.sqlite.events import SqliteEventSender
from taskd.brokers.sqlite.intake import SqliteIntake
from taskd.brokers.sqlite.mailbox import SqliteMailbox
from taskd.brokers.sqlite.once import SqliteOnce
from taskd.brokers.sqlite.publisher import SqlitePublisher
from taskd.brokers.sqlite.queues import bind, declare_exchange, ensure_queue
from taskd.brokers.sqlite.store import BrokerFile
from taskd.brokers.timing import Timing
from taskd.brokers.topology import EVENT_EXCHANGE
from taskd.config.built_in import SQLITE
from taskd.config.stores import FailuresConfig, SqliteConfig, Stores
from taskd.storage.sqlite.database import path_of

_Any = SqliteIntake | SqlitePublisher | SqliteMailbox | SqliteEventSender | SqliteDesk | SqliteOnce
Part = TypeVar("Part", bound=_Any)


class SqliteBroker:
    """``Broker`` over one file; every part has a connection of its own."""

    kind = SQLITE

    def __init__(
        self,
        url: str,
        config: SqliteConfig,
        timing: Timing | None = None,
        failures: FailuresConfig | None = None,
    ) -> None:
        self.url = url
        self._path = path_of(url)
        self._config = config
        self._timing = timing or Timing()
        self._failures = failures
        self._parts: list[_Any] = []

    def _open_store(self) -> BrokerFile:
        return BrokerFile(self._path, self._config, self._timing, self._failures)

    def _keep(self, part: Part) -> Part:
        self._parts = [known for known in self._parts if not known.closed]
        self._parts.append(part)
        return part

    def intake(self, owner: str, queues: Sequence[str], *, lease_s: float = 10.0) -> SqliteIntake:
        """Open the claims of a new generation of ``owner``; fences off and releases the former one."""
        store = self._open_store()
        try:
            return self._keep(SqliteIntake(store, owner, queues, lease_s=lease_s))
        except BaseException:
            store.close()
            raise

    def publisher(self) -> SqlitePublisher:
        """Return a publisher of its own; the file is opened at the first message."""
        return self._keep(SqlitePublisher(self._open_store))

    def once(self) -> SqliteOnce:
        """Return a publisher that sends no id twice; the file is open."""
        return self._keep(SqliteOnce(self._open_store))

    def mailbox(
        self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str = ""
    ) -> SqliteMailbox:
        """Make and bind a mailbox; an old one of the same name is taken over, its messages dropped."""
        store = self._open_store()
        try:
            return self._keep(SqliteMailbox(store, queue, exchange, exchange_type, routing_key))
        except BaseException:
            store.close()
            raise

    def event_sender(self) -> SqliteEventSender:
        """Return a sender of events; the file is opened at first use."""
        return self._keep(SqliteEventSender(self._open_store))

    def event_box(self, queue: str, routing_key: str = "#") -> SqliteMailbox:
        """Make a mailbox for events of these routing keys."""
        return self.mailbox(queue, EVENT_EXCHANGE, "topic", routing_key)

    def bind(self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str) -> None:
        """Bind a durable queue to an exchange; both are made if missing."""
        with closing(self._open_store()) as store, store.database.write() as connection:
            declare_exchange(connection, exchange, exchange_type)
            bind(connection, exchange, routing_key, ensure_queue(connection, queue))

    def desk(self) -> SqliteDesk:
        """Return the operator's view."""
        return self._keep(SqliteDesk(self._open_store))

    def close(self) -> None:
        """Close everything that was opened here.  May be called twice."""
        for part in self._parts:
            part.close()
        self._parts.clear()


def open_broker(url: str, stores: Stores) -> SqliteBroker:
    """Return the broker of a URL; no file is opened yet."""
    return SqliteBroker(url, stores.sqlite, failures=stores.failures)
