"""Redis's errors in our words: which server, what is wrong, and what to do."""

from __future__ import annotations

import socket

from redis.exceptions import (
    AuthenticationError,
    BusyLoadingError,
    ConnectionError,  # noqa: A004 - the library's name
    NoPermissionError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,  # noqa: A004 - the library's name
)

from taskd.base.errors import StorageError, StorageFullError
from taskd.base.remedies import with_remedy


def translate(error: Exception, server: str) -> StorageError:
    """Return our error for one of redis-py or of the socket below it."""
    if isinstance(error, OutOfMemoryError):
        return StorageFullError(
            f"{server} is out of memory ({error}); raise maxmemory or free keys, nothing was lost"
        )
    for kind, text in _TEXTS:
        if isinstance(error, kind):
            return StorageError(with_remedy(text.format(server=server, error=error)))
    return StorageError(with_remedy(f"{server}: {error}"))


# The first that fits: several are subclasses of the error of connections.
_TEXTS: tuple[tuple[type[Exception], str], ...] = (
    (AuthenticationError, "{server} refuses the user or password ({error}); check the URL"),
    (
        NoPermissionError,
        "{server}: the ACL forbids this ({error}); docs/redis.md lists what is needed",
    ),
    (ReadOnlyError, "{server} is a read-only replica; name the master, or its Sentinels"),
    (BusyLoadingError, "{server} is still loading its data"),
    (TimeoutError, "{server} did not answer in time; see [redis] timeout"),
    (socket.timeout, "{server} did not answer in time; see [redis] timeout"),
    (ConnectionError, "{server} cannot be reached: {error}"),
    (OSError, "{server} cannot be reached: {error}"),
)
