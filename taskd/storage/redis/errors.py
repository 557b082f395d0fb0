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

from taskd.errors import StorageError, StorageFullError


def translate(error: Exception, server: str) -> StorageError:
    """Return our error for one of redis-py or of the socket below it."""
    if isinstance(error, OutOfMemoryError):
        return StorageFullError(
            f"{server} is out of memory ({error}); raise maxmemory or free keys, nothing was lost"
        )
    for kind, text in _TEXTS:
        if isinstance(error, kind):
            return StorageError(text.format(server=server, error=error) + _remedy(str(error)))
    return StorageError(f"{server}: {error}{_remedy(str(error))}")


def _remedy(said: str) -> str:
    return next((f"; {remedy}" for words, remedy in _REMEDIES if words in said), "")


#: What helps, by words of the server's or the system's.
_REMEDIES: tuple[tuple[str, str], ...] = (
    ("Connection refused", "nobody listens there: is the server up, and the port right?"),
    ("No such file", "is the server up, and does its unixsocket say this path?"),
    ("Name or service not known", "check the host of the URL"),
    ("name resolution", "check the host of the URL, and the resolver of this machine"),
    ("CERTIFICATE_VERIFY_FAILED", "name the authority of its certificate: ?ssl_ca_certs=FILE in the URL"),
    ("WRONG_VERSION_NUMBER", "does this port speak TLS? rediss:// does, and redis:// does not"),
    ("DB index is out of range", "the number at the end of the URL is more than the server has databases"),
    ("MISCONF", "the server cannot save to its disk and takes nothing: see its log, and its free space"),
    ("max number of clients", "raise maxclients of the server, or let fewer processes connect"),
    (
        "WRONGTYPE",
        "a key of this name belongs to another program: set [redis] key_prefix, or another database",
    ),
    ("MOVED ", "this is a Redis Cluster; taskd needs one server, or one behind Sentinels"),
    ("CROSSSLOT", "this is a Redis Cluster; taskd needs one server, or one behind Sentinels"),
)


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
