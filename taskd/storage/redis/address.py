"""Where a Redis server is, and how to get in: the URL and the [redis] table, as one value.

URLs: ``redis://[user:password@]host[:port][/db]``, ``rediss://`` for TLS (``?ssl_ca_certs=…`` and the other
``ssl_`` options of redis-py), ``unix:///path/of.sock?db=0`` (kombu's ``redis+socket://`` too), and
``sentinel://host[:port][,host[:port]…]/db`` with the master's name in ``[redis] master``.
"""

from __future__ import annotations

import codecs
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection, parse_url
from redis.exceptions import RedisError as LibraryError
from redis.sentinel import Sentinel

from taskd.base.errors import StorageError
from taskd.base.urls import refusal, shown
from taskd.storage.redis.errors import translate

_SENTINEL_PORT = 26379

# The first connection by a host's name would import this codec, and a fork might split that import: the child
# would wait for its end for ever.  No fork splits the import of the present module (``taskd.base.forks``).
codecs.lookup("idna")

# redis-py would tell the server its own version: two trips more, and a look into files for it, each time.
_UNNAMED: Mapping[str, Any] = (
    {"driver_info": None} if find_spec("redis.driver_info") else {"lib_name": None, "lib_version": None}
)


@dataclass(frozen=True, slots=True)
class Address:
    """One server, or the master that Sentinels know.  ``options`` go to redis-py; they hold the password."""

    shown: str
    kind: type[Connection]
    options: Mapping[str, Any] = field(repr=False)
    sentinels: tuple[tuple[str, int], ...] = ()
    master: str = ""

    @property
    def database(self) -> int:
        """The number of the database."""
        return int(self.options.get("db", 0))

    @property
    def timeout_s(self) -> float:
        """How long each connection and each answer may take."""
        return float(self.options["socket_timeout"])

    def connect(self) -> Connection:
        """Return an open connection.  Blocks, at most as long as the configured timeout for each step.

        Raises: ``StorageError``.
        """
        try:
            connection = self.kind(**self.options, **self._master())
            connection.connect()
        except (LibraryError, OSError) as error:
            raise translate(error, self.shown) from error
        return connection

    def _master(self) -> Mapping[str, Any]:
        """Return the host and port of the present master; empty without Sentinels."""
        if not self.sentinels:
            return {}
        sentinels = Sentinel(list(self.sentinels), socket_timeout=self.timeout_s)
        host, port = sentinels.discover_master(self.master)
        return {"host": host, "port": port}


def address_of(url: str, *, timeout_s: float, master: str) -> Address:
    """Read a URL.  ``timeout_s`` is for each connection and each answer, ``master`` for Sentinels.

    Raises: ``StorageError`` for one that is not Redis's, or lacks what it needs.
    """
    wrong = refusal(url, "the Redis server")
    if wrong:
        raise StorageError(wrong)
    common = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "socket_keepalive": True,
        # The replies of version 2 of the protocol are the same in all versions of redis-py.
        "protocol": 2,
        "client_name": _client_name(socket.gethostname()),
        **_UNNAMED,
    }
    if url.startswith("sentinel://"):
        return _sentinels(url, master, common)
    if url.startswith("redis+socket://"):
        url = _kombu_socket(url)
    try:
        options = parse_url(url)
    except ValueError as error:
        raise StorageError(f"{shown(url)} is not a Redis URL: {error}") from error
    kind = options.pop("connection_class", Connection)
    if kind is UnixDomainSocketConnection:
        del common["socket_keepalive"]
    return Address(shown(url), kind, {**common, **options})


def _client_name(host: str) -> str:
    """Return the name under which the server lists a connection; it takes printable ASCII alone."""
    return "taskd@" + "".join(char if "!" <= char <= "~" else "-" for char in host)


def _sentinels(url: str, master: str, common: Mapping[str, Any]) -> Address:
    if not master:
        raise StorageError(f'{shown(url)} names Sentinels: set [redis] master = "name of the master"')
    # kombu writes several URLs with semicolons between them.
    first = urlsplit(url.partition(";")[0])
    rest = url.partition(";")[2].replace("sentinel://", "").replace(";", ",")
    places = [
        first.netloc.rpartition("@")[2],
        *(place.partition("/")[0] for place in rest.split(",") if place),
    ]
    hosts = [place for group in places for place in group.split(",")]
    sentinels = tuple(
        (host.partition(":")[0], int(host.partition(":")[2] or _SENTINEL_PORT)) for host in hosts
    )
    path = urlsplit(url.rpartition(";")[2]).path.strip("/") or first.path.strip("/")
    options: dict[str, Any] = {**common, "db": int(path or 0)}
    if first.username:
        options["username"] = unquote(first.username)
    if first.password:
        options["password"] = unquote(first.password)
    kind: type[Connection] = Connection
    if _wants_tls(first.query):
        kind = SSLConnection
        read = parse_url(f"rediss://master/?{first.query}")
        options |= {name: value for name, value in read.items() if name.startswith("ssl_")}
    return Address(shown(url), kind, options, sentinels, master)


def _wants_tls(query: str) -> bool:
    """Return whether a query has ``ssl``, alone or with a value that does not refuse it."""
    given = parse_qs(query, keep_blank_values=True).get("ssl")
    return given is not None and given[-1].lower() not in ("false", "no", "off", "0")


def _kombu_socket(url: str) -> str:
    """Return redis-py's form of kombu's URL of a Unix socket."""
    parts = urlsplit(url)
    database = parse_qs(parts.query).get("virtual_host", ["0"])[0].strip("/")
    user = parts.netloc if parts.netloc.endswith("@") else ""
    return f"unix://{user}{parts.path}?db={database}"
