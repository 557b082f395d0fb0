"""A kombu connection to the configured broker, for clients such as taskctl; workers never load it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import cast
from urllib.parse import parse_qs, urlsplit

from kombu.connection import Connection

from taskd.base.errors import BrokerError
from taskd.base.schemes import Form, scheme_of
from taskd.base.urls import refusal
from taskd.brokers.kombu_client.transport import SqliteTransport
from taskd.config.built_in import BROKERS
from taskd.config.choosing import broker_kind
from taskd.config.kinds import KindError
from taskd.config.stores import Stores

#: Without these kombu tries for ever to reach what is not there.
_ONE_TRY: Mapping[str, object] = {
    "max_retries": 1,
    "interval_start": 0.1,
    "interval_step": 0.1,
    "interval_max": 0.1,
}
_REMEDY = 'pip install "taskd"'


def kombu_connection(broker_url: str, stores: Stores) -> Connection:
    """Return a kombu connection to the broker of a URL; nothing is opened yet.

    Raises: ``BrokerError`` for a broker that other processes cannot reach, an unknown one, or one whose
    library is not installed.
    """
    wrong = refusal(broker_url, "the broker")
    if wrong:
        raise BrokerError(wrong)
    scheme = broker_url.partition("://")[0]
    try:
        kind = broker_kind(broker_url)
        if not kind.client:
            supported = ", ".join(f"{name}://" for name, each in BROKERS.items() if each.client)
            raise BrokerError(f'"{scheme}://" has no kombu transport here; supported: {supported}')
        opener = cast("Callable[[str, Stores], Connection]", kind.load(kind.client))
        return opener(broker_url, stores)
    except KindError as error:
        raise BrokerError(str(error)) from error
    except ImportError as error:
        wrong = f"kombu's transport for {scheme}:// cannot be imported ({error})"
        raise BrokerError(f"{wrong}: {kind.remedy or _REMEDY}") from error


def over_sqlite(broker_url: str, stores: Stores) -> Connection:
    """Return a connection to an embedded broker."""
    return Connection(
        broker_url,
        transport=SqliteTransport,
        transport_options={
            **_ONE_TRY,
            "durability": stores.sqlite.durability,
            "busy_timeout": stores.sqlite.busy_timeout,
        },
    )


def over_amqp(broker_url: str, stores: Stores) -> Connection:
    """Return a connection to RabbitMQ."""
    return Connection(broker_url, connect_timeout=stores.amqp.timeout, transport_options=dict(_ONE_TRY))


def over_redis(broker_url: str, stores: Stores) -> Connection:
    """Return a connection to Redis."""
    parts = urlsplit(broker_url)
    how = scheme_of(broker_url)
    if how.form is Form.SOCKET and how.database == "db":  # kombu knows the other form alone
        user = parts.netloc if parts.netloc.endswith("@") else ""
        database = parse_qs(parts.query).get("db", ["0"])[0]
        broker_url = f"redis+socket://{user}{parts.path}?virtual_host={database}"
    timeout_s = stores.redis.timeout
    options = {**_ONE_TRY, "socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    if stores.redis.key_prefix:
        options["global_keyprefix"] = stores.redis.key_prefix
    if stores.redis.master:
        options["master_name"] = stores.redis.master
    return Connection(broker_url, transport_options=options)
