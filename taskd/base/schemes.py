"""How the addresses of each scheme are written, as one table.  Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto


class Form(Enum):
    """The part of an address behind its scheme."""

    #: ``user:password@host:port/database``, several hosts with commas between them.
    SERVER = auto()
    #: The path of a Unix socket; the database is a parameter.
    SOCKET = auto()
    #: The path of a file, and an @ is part of it.
    FILE = auto()
    #: A name or nothing, and an @ is part of it.
    WORD = auto()


@dataclass(frozen=True, slots=True)
class Scheme:
    """How the addresses of one scheme are written.  The defaults are those of an unknown scheme."""

    form: Form = Form.SERVER
    #: Schemes of one family lead to the same servers; empty for a family of its own.
    family: str = ""
    #: The port of a server whose address names none; 0 where it is not known.
    port: int = 0
    encrypted: bool = False
    #: The parameter that may name the database, which is a number; empty where it is not one.
    database: str = ""
    #: The database of an address that names none.
    first: str = ""


_RABBIT = "RabbitMQ"
_REDIS = "Redis"
_SOCKET = "Redis over a socket"
_WORD = Scheme(Form.WORD)

SCHEMES: Mapping[str, Scheme] = {
    "sqlite": Scheme(Form.FILE),
    "memory": _WORD,
    "null": _WORD,
    "rpc": _WORD,
    "redis": Scheme(family=_REDIS, port=6379, database="db", first="0"),
    "rediss": Scheme(family=_REDIS, port=6379, encrypted=True, database="db", first="0"),
    "sentinel": Scheme(port=26379, database="db", first="0"),
    "unix": Scheme(Form.SOCKET, family=_SOCKET, database="db", first="0"),
    "redis+socket": Scheme(Form.SOCKET, family=_SOCKET, database="virtual_host", first="0"),
    "amqp": Scheme(family=_RABBIT, port=5672, first="/"),
    "pyamqp": Scheme(family=_RABBIT, port=5672, first="/"),
    "amqps": Scheme(family=_RABBIT, port=5671, encrypted=True, first="/"),
    "kombu+memory": _WORD,
    "kombu+filesystem": _WORD,
    "kombu+sqla+sqlite": _WORD,
}
_UNKNOWN = Scheme()


def scheme_of(url: str) -> Scheme:
    """Return how an address is written."""
    return SCHEMES.get(url.partition("://")[0], _UNKNOWN)


def file_of(url: str) -> str:
    """Return the path in the address of a file, as it stands there; empty for any other address."""
    scheme, _, path = url.partition("://")
    is_file = SCHEMES.get(scheme, _UNKNOWN).form is Form.FILE
    return path if is_file and path.strip("/") else ""


def with_file(url: str, path: str) -> str:
    """Return the address of a file with another absolute path."""
    # normpath keeps two leading slashes, as POSIX allows; nobody means them.
    return f"{url.partition('://')[0]}:///{path.lstrip('/')}"
