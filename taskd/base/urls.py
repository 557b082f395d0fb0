"""Addresses of brokers and stores: what is wrong with one, and how one may be shown.  Pure.

An address holds a password, and one that is not percent-encoded is taken apart at the wrong place by every
library.  So it is checked before any library sees it, and only what follows its last ``@`` is ever shown.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from urllib.parse import parse_qsl, unquote, urlsplit

from taskd.base.schemes import Form, Scheme, scheme_of

#: The text in the place of a secret.
MASK = "***"

#: Addresses without a user and a password.
_TEXTS = (Form.FILE, Form.WORD)

# kombu writes several servers with semicolons between their URLs.
_BETWEEN = re.compile(r";(?=[a-z][a-z0-9+.-]*://)")
_SECRET_WORD = re.compile("pass|secret|token|key", re.IGNORECASE)
# A shorter one would tear up words that have nothing to do with it.
_SHORTEST_SECRET = 3

_ENCODED = "the user and password percent-encoded, such as %23 for # (also / ? @ [ ] % and space)"
_PORT = "a port behind the host, as in redis://localhost:6379/0"
_DATABASE = "the number of a database at the end, as in redis://localhost:6379/0"


def wrong_in(url: str) -> tuple[str, str] | None:
    """Return what is wrong with an address and what was expected, without a part of it; else None."""
    for part in _BETWEEN.split(url):
        wrong = _wrong_in_one(part)
        if wrong is not None:
            return wrong
    return None


def refusal(url: str, of: str) -> str:
    """Return the error for an address that no library may see, empty for a sound one."""
    wrong = wrong_in(url)
    return (
        f"the {url.partition('://')[0]}:// address of {of}: {wrong[0]}; expected {wrong[1]}" if wrong else ""
    )


def _wrong_in_one(url: str) -> tuple[str, str] | None:
    how = scheme_of(url)
    rest = url.partition("://")[2]
    if how.form in _TEXTS:
        return None
    authority = "" if rest.startswith("/") else re.split("[/?#]", rest, maxsplit=1)[0]
    credentials, _, servers = authority.rpartition("@")
    torn = "@" in rest[len(authority) :] and not rest.startswith("/")
    if torn or re.search(r"[\[\]\s]", credentials):
        return "the user or password holds a character that ends it there", _ENCODED
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the host, or the user and password before it, cannot be read", _ENCODED
    if how.port:
        for server in servers.split(","):
            port = server.rpartition("]")[2].partition(":")[2]
            if port and not (_is_number(port) and 0 < int(port) <= 65535):
                return "the port is not a number from 1 to 65535", _PORT
    if how.database:
        place = "" if how.form is Form.SOCKET else parts.path
        database = dict(parse_qsl(parts.query)).get(how.database, place).strip("/")
        if database and not _is_number(database):
            return "the database is not a number", _DATABASE
    return None


def _is_number(text: str) -> bool:
    return len(text) < 10 and text.isascii() and text.isdigit()


def shown(url: str) -> str:
    """Return an address without user, password and parameters, for errors and logs."""
    return ";".join(f"{scheme}://{place}" for scheme, _, place, _ in map(_taken_apart, _BETWEEN.split(url)))


def masked(url: str) -> str:
    """Return an address with masks in the place of its password and its parameters, for listings."""
    parts = []
    for scheme, credentials, place, query in map(_taken_apart, _BETWEEN.split(url)):
        user = credentials.partition(":")[0] if ":" in credentials else MASK
        who = f"{user}:{MASK}@" if credentials else ""
        parts.append(f"{scheme}://{who}{place}" + (f"?{MASK}" if query else ""))
    return ";".join(parts)


def scrubbed(text: str, url: str) -> str:
    """Return the text of another's error about an address without the address's secrets."""
    for secret in sorted(_secrets(url), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _secrets(url: str) -> set[str]:
    found: set[str] = set()
    for _, credentials, _, query in map(_taken_apart, _BETWEEN.split(url)):
        user, colon, password = credentials.partition(":")
        given = [credentials, password if colon else user]
        given += [value for name, value in parse_qsl(query) if _SECRET_WORD.search(name)]
        found.update(given)
        found.update(unquote(each) for each in given)
    return {each for each in found if len(each) >= _SHORTEST_SECRET}


def _taken_apart(url: str) -> tuple[str, str, str, str]:
    """Return the scheme, what stands before the last ``@``, the place behind it, and the parameters."""
    scheme, _, rest = url.partition("://")
    if scheme_of(url).form in _TEXTS:
        place, _, query = rest.partition("?")
        return scheme, "", place, query
    credentials, _, behind = ("", "", rest) if rest.startswith("/") else rest.rpartition("@")
    place, _, query = behind.partition("?")
    return scheme, credentials, place, query


def credentials_of(url: str) -> Iterator[str]:
    """Yield the passwords of an address, as they stand in it."""
    for _, credentials, _, _ in map(_taken_apart, _BETWEEN.split(url)):
        password = credentials.partition(":")[2]
        if password:
            yield password


def servers_of(url: str) -> Sequence[tuple[str, int]]:
    """Return the host and port of each server in an address; port 0 where it is not known."""
    return [
        _host_and_port(server, scheme_of(part).port)
        for part in _BETWEEN.split(url)
        if scheme_of(part).form is Form.SERVER
        for server in _taken_apart(part)[2].partition("/")[0].split(",")
    ]


def _host_and_port(server: str, default: int) -> tuple[str, int]:
    host, colon, port = server.rpartition(":")
    if not colon or port.endswith("]"):  # the last colon is that of an IPv6 address
        host = server
        port = ""
    return host.lower() or "localhost", int(port) if _is_number(port) else default


def place_of(url: str) -> tuple[object, ...]:
    """Return the place that an address leads to, in one form for all ways to write it, without the login."""
    scheme, _, place, query = _taken_apart(url)
    how = scheme_of(url)
    family = how.family or scheme
    match how.form:
        case Form.FILE:
            return family, _normal(place)
        case Form.WORD:
            return family, place, query
        case Form.SOCKET:
            return family, _normal(place), _database(how, "", query)
        case Form.SERVER:
            parts = [_taken_apart(part) for part in _BETWEEN.split(url)]
            paths = [path for _, _, each, _ in parts if (path := each.partition("/")[2])]
            return family, tuple(servers_of(url)), _database(how, paths[-1] if paths else "", parts[-1][3])


def _normal(path: str) -> str:
    return os.path.normpath(f"/{path.lstrip('/')}")


def _database(how: Scheme, path: str, query: str) -> str:
    named = dict(parse_qsl(query)).get(how.database, path) if how.database else path
    return unquote(named if how.first == "/" else named.strip("/")) or how.first


def same_server(one: str, other: str) -> bool:
    """Return whether two addresses lead to the same database of the same server, or to the same file."""
    return place_of(one) == place_of(other)


def same_login(one: str, other: str) -> bool:
    """Return whether two addresses name the same user and password, and the same parameters for them."""
    return _login(one) == _login(other)


def _login(url: str) -> Sequence[object]:
    names = ("username", "password")
    return [
        (tuple(map(unquote, credentials.split(":"))), [pair for pair in parse_qsl(query) if pair[0] in names])
        for _, credentials, _, query in map(_taken_apart, _BETWEEN.split(url))
    ]
