"""Where a Redis URL leads."""

from __future__ import annotations

import pytest
from redis.connection import Connection, SSLConnection, UnixDomainSocketConnection

from taskd.base.errors import StorageError
from taskd.storage.redis.address import Address, address_of


def read(url: str, master: str = "") -> Address:
    return address_of(url, timeout_s=5.0, master=master)


def test_host_port_database_and_user_are_read() -> None:
    address = read("redis://me:s%23cret@example.org:6380/3")

    assert (address.options["host"], address.options["port"], address.database) == ("example.org", 6380, 3)
    assert (address.options["username"], address.options["password"]) == ("me", "s#cret")


def test_a_password_is_never_shown() -> None:
    assert "secret" not in repr(read("redis://me:secret@example.org/0"))


def test_tls_and_sockets_have_connections_of_their_own() -> None:
    assert read("rediss://example.org/0?ssl_ca_certs=/ca.pem").kind is SSLConnection
    socket = read("redis+socket:///run/redis.sock?virtual_host=2")
    assert issubclass(socket.kind, UnixDomainSocketConnection)
    assert (socket.options["path"], socket.database) == ("/run/redis.sock", 2)
    assert read("unix:///run/redis.sock?db=2").options["path"] == "/run/redis.sock"


@pytest.mark.parametrize(
    "url",
    [
        "sentinel://:pw@one:26379,two:26380/4",
        "sentinel://:pw@one:26379;sentinel://two:26380/4",
        "sentinel://:pw@one;sentinel://two:26380/4",
    ],
)
def test_sentinels_are_listed_in_both_forms(url: str) -> None:
    address = read(url, master="mymaster")

    assert address.sentinels == (("one", 26379), ("two", 26380))
    assert (address.master, address.database, address.options["password"]) == ("mymaster", 4, "pw")


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("", Connection),
        ("?ssl", SSLConnection),
        ("?ssl=true", SSLConnection),
        ("?ssl=false", Connection),
    ],
)
def test_ssl_asks_the_master_behind_sentinels_for_tls(query: str, kind: type) -> None:
    assert read(f"sentinel://one:26379/0{query}", master="m").kind is kind


def test_the_master_behind_sentinels_takes_the_options_of_tls() -> None:
    address = read("sentinel://one:26379/0?ssl&ssl_ca_certs=/etc/ca.pem", master="m")

    assert address.options["ssl_ca_certs"] == "/etc/ca.pem"


def test_sentinels_without_a_master_are_refused_with_the_remedy() -> None:
    with pytest.raises(StorageError, match=r"set \[redis\] master"):
        read("sentinel://one:26379/0")


def test_another_scheme_is_refused() -> None:
    with pytest.raises(StorageError, match="is not a Redis URL"):
        read("http://example.org")
