"""A kombu connection to the configured broker, for clients such as taskctl; workers never load it."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import parse_qs, urlsplit

from kombu.connection import Connection

from taskd.base.errors import BrokerError
from taskd.base.urls import refusal
from taskd.brokers.kombu_client.transport import SqliteTransport
from taskd.config.stores import AMQP_SCHEMES, REDIS_SCHEMES, RedisConfig, SqliteConfig, Stores

#: Without these kombu tries for ever to reach what is not there.
_ONE_TRY: Mapping[str, object] = {
    "max_retries": 1,
    "interval_start": 0.1,
    "interval_step": 0.1,
    "interval_max": 0.1,
}


def kombu_connection(broker_url: str, stores: Stores) -> Connection:
    """Return a kombu connection to the broker of a URL; nothing is opened yet.

    Raises: ``BrokerError`` for a broker that other processes cannot reach, an unknown one, or one whose
    library is not installed.
    """
    scheme = broker_url.partition("://")[0]
    wrong = refusal(broker_url, "the broker")
    if wrong:
        raise BrokerError(wrong)
    try:
        if scheme == "sqlite":
            return _sqlite(broker_url, stores.sqlite)
        if scheme in REDIS_SCHEMES:
            return _redis(broker_url, stores.redis)
        if scheme in AMQP_SCHEMES:
            return Connection(
                broker_url, connect_timeout=stores.amqp.timeout, transport_options=dict(_ONE_TRY)
            )
    except ImportError as error:
        extra = "taskd[redis]" if scheme in REDIS_SCHEMES else "taskd"
        wrong = f"kombu's transport for {scheme}:// cannot be imported ({error})"
        raise BrokerError(f'{wrong}: pip install "{extra}"') from error
    supported = ", ".join(f"{name}://" for name in ("sqlite", *REDIS_SCHEMES, *AMQP_SCHEMES))
    raise BrokerError(f'"{scheme}://" has no kombu transport here; supported: {supported}')


def _sqlite(broker_url: str, sqlite: SqliteConfig) -> Connection:
    return Connection(
        broker_url,
        transport=SqliteTransport,
        transport_options={
            **_ONE_TRY,
            "durability": sqlite.durability,
            "busy_timeout": sqlite.busy_timeout,
        },
    )


def _redis(broker_url: str, redis: RedisConfig) -> Connection:
    parts = urlsplit(broker_url)
    if parts.scheme == "unix":
        user = parts.netloc if parts.netloc.endswith("@") else ""
        database = parse_qs(parts.query).get("db", ["0"])[0]
        broker_url = f"redis+socket://{user}{parts.path}?virtual_host={database}"
    options = {**_ONE_TRY, "socket_timeout": redis.timeout, "socket_connect_timeout": redis.timeout}
    if redis.key_prefix:
        options["global_keyprefix"] = redis.key_prefix
    if redis.master:
        options["master_name"] = redis.master
    return Connection(broker_url, transport_options=options)
