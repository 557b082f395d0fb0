"""Open a result backend by its URL.  Implementations are imported when they are asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from taskd.base.errors import StorageError
from taskd.config.stores import REDIS_SCHEMES, Stores
from taskd.results.base import ChordStore, Post, ResultStore


def _sqlite(url: str, stores: Stores, post: Post | None) -> ResultStore:  # noqa: ARG001 - the table's signature
    from taskd.results.sqlite import SqliteResults

    return SqliteResults(url, stores.sqlite)


def _memory(url: str, stores: Stores, post: Post | None) -> ResultStore:  # noqa: ARG001 - the table's signature
    from taskd.results.memory import MemoryResults

    return MemoryResults(url)


def _redis(url: str, stores: Stores, post: Post | None) -> ResultStore:  # noqa: ARG001 - the table's signature
    try:
        from taskd.results.redis import RedisResults
    except ModuleNotFoundError as error:
        wrong = f'{error.name} is not installed, which Redis needs: pip install "taskd[redis]"'
        raise StorageError(wrong) from error

    return RedisResults(url, stores.redis)


def _null(url: str, stores: Stores, post: Post | None) -> ResultStore:  # noqa: ARG001 - the table's signature
    from taskd.results.null import NullResults

    return NullResults()


def _rpc(url: str, stores: Stores, post: Post | None) -> ResultStore:  # noqa: ARG001 - the table's signature
    from taskd.results.rpc import RpcResults

    if post is None:
        raise StorageError(
            'results = "rpc://" travel over RabbitMQ to whoever sent the task; expected a broker amqp://, '
            "or a store of results: redis:// or sqlite://"
        )
    return RpcResults(post)


_IMPLEMENTATIONS: Mapping[str, Callable[[str, Stores, Post | None], ResultStore]] = {
    "sqlite": _sqlite,
    "memory": _memory,
    "null": _null,
    "rpc": _rpc,
    **dict.fromkeys(REDIS_SCHEMES, _redis),
}


def connect(url: str, stores: Stores, post: Post | None = None) -> ResultStore:
    """Return the result backend of a URL; no file is opened or connection made yet.

    ``post``: how ``rpc://`` reaches the broker, where that can carry results.
    Raises: ``StorageError`` for an unknown scheme or a URL that names no file.
    """
    scheme = url.partition("://")[0]
    implementation = _IMPLEMENTATIONS.get(scheme)
    if implementation is None:
        supported = ", ".join(f"{name}://" for name in _IMPLEMENTATIONS)
        raise StorageError(f'no result backend speaks "{scheme}://"; supported: {supported}')
    return implementation(url, stores, post)


def counts_chords(url: str) -> bool:
    """Return whether the parts of chords are counted where the results of this URL are."""
    return url.partition("://")[0] in REDIS_SCHEMES


def chords(url: str, stores: Stores, expires_s: float) -> ChordStore | None:
    """Return what counts the parts of chords, None where nothing does; nothing is connected yet.

    ``expires_s``: how long the parts of a chord are kept, as results are.  Raises: as ``connect``.
    """
    if not counts_chords(url):
        return None
    from taskd.results.redis_chords import RedisChords

    return RedisChords(url, stores.redis, expires_s)
