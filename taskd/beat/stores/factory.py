"""Open beat's store by its URL.  Implementations are imported when they are asked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping

from taskd.base.errors import StorageError
from taskd.beat.stores.base import Store
from taskd.brokers.timing import Timing
from taskd.config.schema import Config
from taskd.config.stores import REDIS_SCHEMES
from taskd.storage.sqlite.database import path_of

_BESIDE_THE_BROKER = "beat.db"
_ELSEWHERE = "sqlite:///var/lib/taskd/beat.db"
_SQLITE = "sqlite://"


def _sqlite(config: Config, timing: Timing | None, listens: bool) -> Store:
    from taskd.beat.stores.sqlite import SqliteStore

    return SqliteStore(
        store_url(config), config.sqlite, config.beat.history, timing or Timing(), listens=listens
    )


def _redis(config: Config, timing: Timing | None, listens: bool) -> Store:
    try:
        from taskd.beat.stores.redis import RedisStore
    except ModuleNotFoundError as error:
        wrong = f'{error.name} is not installed, which Redis needs: pip install "taskd[redis]"'
        raise StorageError(wrong) from error

    return RedisStore(store_url(config), config.redis, config.beat.history, timing, listens=listens)


_IMPLEMENTATIONS: Mapping[str, Callable[[Config, Timing | None, bool], Store]] = {
    "sqlite": _sqlite,
    **dict.fromkeys(REDIS_SCHEMES, _redis),
}


def store_url(config: Config) -> str:
    """Return where beat keeps what it remembers: as configured, else ``beat.db`` beside the broker's file."""
    if config.beat.store:
        return config.beat.store
    if config.broker.startswith(_SQLITE):
        directory = os.path.dirname(config.broker[len(_SQLITE) :])
        return f"{_SQLITE}{os.path.join(directory, _BESIDE_THE_BROKER)}"
    return _ELSEWHERE


def has_store(config: Config) -> bool:
    """Whether there may be something in the store; asking makes no file."""
    url = store_url(config)
    return not url.startswith(_SQLITE) or os.path.exists(path_of(url))


def open_store(config: Config, timing: Timing | None = None, *, listens: bool) -> Store:
    """Open the store; ``listens`` is on for a beat and off for an operator's look.

    Raises: ``StorageError`` when it cannot be opened, or has a URL of a scheme that nobody speaks.
    """
    scheme = store_url(config).partition("://")[0]
    implementation = _IMPLEMENTATIONS.get(scheme)
    if implementation is None:
        supported = ", ".join(f"{name}://" for name in _IMPLEMENTATIONS)
        raise StorageError(f'no store of beat speaks "{scheme}://"; supported: {supported}')
    return implementation(config, timing, listens)
