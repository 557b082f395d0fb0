"""A kombu connection to the configured broker, for clients such as taskctl; workers never load it."""

from __future__ import annotations

from kombu.connection import Connection

from taskd.brokers.sqlite.transport import SqliteTransport
from taskd.config.stores import SqliteConfig
from taskd.errors import BrokerError


def kombu_connection(broker_url: str, sqlite: SqliteConfig) -> Connection:
    """Return a kombu connection to the broker of a URL; nothing is opened yet.

    Raises: ``BrokerError`` for a broker that other processes cannot reach, or an unknown one.
    """
    scheme = broker_url.partition("://")[0]
    if scheme != "sqlite":
        raise BrokerError(f'"{scheme}://" has no kombu transport here; supported: sqlite://')
    return Connection(  # type: ignore[no-untyped-call]
        broker_url,
        transport=SqliteTransport,
        transport_options={
            "durability": sqlite.durability,
            "busy_timeout": sqlite.busy_timeout,
            # Without these kombu tries for ever to open a file that is not there.
            "max_retries": 1,
            "interval_start": 0.1,
            "interval_step": 0.1,
            "interval_max": 0.1,
        },
    )
