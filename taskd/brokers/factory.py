"""Open a broker by its URL.  Implementations are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskd.brokers.base import Broker
from taskd.config.stores import SqliteConfig
from taskd.errors import BrokerError


def _sqlite(url: str, sqlite: SqliteConfig) -> Broker:
    from taskd.brokers.sqlite.broker import SqliteBroker

    return SqliteBroker(url, sqlite)


def _memory(url: str, sqlite: SqliteConfig) -> Broker:  # noqa: ARG001 - the table's signature
    from taskd.brokers.memory.broker import MemoryBroker

    return MemoryBroker(url)


_IMPLEMENTATIONS: Mapping[str, Callable[[str, SqliteConfig], Broker]] = {
    "sqlite": _sqlite,
    "memory": _memory,
}


def connect(url: str, sqlite: SqliteConfig) -> Broker:
    """Return the broker of a URL; no file is opened or connection made yet.

    Raises: ``BrokerError`` for an unknown scheme, ``StorageError`` for a URL that names no file.
    """
    scheme = url.partition("://")[0]
    implementation = _IMPLEMENTATIONS.get(scheme)
    if implementation is None:
        supported = ", ".join(f"{name}://" for name in _IMPLEMENTATIONS)
        raise BrokerError(f'no broker speaks "{scheme}://"; supported: {supported}')
    return implementation(url, sqlite)
