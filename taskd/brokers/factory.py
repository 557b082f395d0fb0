"""Open a broker by its URL.  Implementations are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskd.base.errors import BrokerError
from taskd.base.urls import refusal
from taskd.brokers.base import Broker
from taskd.config.stores import AMQP_SCHEMES, KOMBU_SCHEMES, REDIS_SCHEMES, Stores


def _sqlite(url: str, stores: Stores) -> Broker:
    from taskd.brokers.sqlite.broker import SqliteBroker

    return SqliteBroker(url, stores.sqlite)


def _memory(url: str, stores: Stores) -> Broker:  # noqa: ARG001 - the table's signature
    from taskd.brokers.memory.broker import MemoryBroker

    return MemoryBroker(url)


def _redis(url: str, stores: Stores) -> Broker:
    try:
        from taskd.brokers.redis.broker import RedisBroker
    except ModuleNotFoundError as error:
        wrong = f'{error.name} is not installed, which Redis needs: pip install "taskd[redis]"'
        raise BrokerError(wrong) from error

    return RedisBroker(url, stores.redis)


def _amqp(url: str, stores: Stores) -> Broker:
    from taskd.brokers.amqp.broker import AmqpBroker
    from taskd.brokers.amqp.server import AmqpServer

    return AmqpBroker(AmqpServer(url, stores.amqp))


def _kombu(url: str, stores: Stores) -> Broker:
    from taskd.brokers.kombu.broker import KombuBroker
    from taskd.brokers.kombu.server import Server

    return KombuBroker(Server(url, stores.amqp))


_IMPLEMENTATIONS: Mapping[str, Callable[[str, Stores], Broker]] = {
    "sqlite": _sqlite,
    "memory": _memory,
    **dict.fromkeys(REDIS_SCHEMES, _redis),
    **dict.fromkeys(AMQP_SCHEMES, _amqp),
    **dict.fromkeys(KOMBU_SCHEMES, _kombu),
}


def connect(url: str, stores: Stores) -> Broker:
    """Return the broker of a URL; no file is opened or connection made yet.

    Raises: ``BrokerError`` for an unknown scheme, ``StorageError`` for a URL that names no file,
    either for one that cannot be read.
    """
    scheme = url.partition("://")[0]
    implementation = _IMPLEMENTATIONS.get(scheme)
    if implementation is None:
        supported = ", ".join(f"{name}://" for name in _IMPLEMENTATIONS)
        raise BrokerError(f'no broker speaks "{scheme}://"; supported: {supported}')
    wrong = refusal(url, "the broker")
    if wrong:
        raise BrokerError(wrong)
    return implementation(url, stores)
