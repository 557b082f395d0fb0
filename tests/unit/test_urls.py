"""Addresses of brokers and stores: a secret in one reaches nobody, whatever is wrong with it."""

from __future__ import annotations

import pytest

from taskd.base.errors import BrokerError, StorageError, TaskdError
from taskd.base.urls import masked, same_login, same_server, scrubbed, servers_of, shown, wrong_in
from taskd.brokers import factory as brokers
from taskd.brokers.kombu.errors import told
from taskd.brokers.kombu_client.connection import kombu_connection
from taskd.config.key_values import KeyValue, walk
from taskd.config.load import check_bytes
from taskd.config.schema import Config
from taskd.config.stores import Stores
from taskd.results import factory as results

SCHEMES = ["redis", "rediss", "unix", "redis+socket", "sentinel", "amqp", "amqps", "kombu+sqla+postgresql"]
# Each makes some library take the address apart in the middle of the password.
TORN = [
    "hun#ter2",
    "hun/ter2",
    "hun?ter2",
    "hun[ter2",
    "hun]ter2",
    "12/ter2",
    "#ter2",
    "hun ter2",
    "hu\uff0fter2",
]


@pytest.mark.parametrize("password", TORN)
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_password_that_is_not_encoded_is_refused_by_its_key_and_not_shown(
    scheme: str, password: str
) -> None:
    url = (
        f"{scheme}://app:{password}@/run/x.sock" if "unix" in scheme else f"{scheme}://app:{password}@host/0"
    )

    config, problems = check_bytes(f"broker = '{url}'\n[worker.a]\napp='x'".encode(), "t.toml", {})

    assert config is None
    assert "t.toml:1: broker: " in str(problems[0])
    assert "percent-encoded" in str(problems[0])
    texts = [*map(str, problems), shown(url)]
    for connect in (brokers.connect, results.connect, kombu_connection):
        with pytest.raises((BrokerError, StorageError)) as caught:
            connect(url, Stores())
        error: BaseException | None = caught.value
        while error is not None:  # a traceback shows the causes too
            texts.append(str(error))
            error = error.__cause__ or error.__context__
    assert not [text for text in texts if "ter2" in text or "hun" in text]


@pytest.mark.parametrize(
    "url",
    [
        "redis://app:hun%23ter2@host:6379/0",
        "rediss://:a:b@host/0?ssl_ca_certs=/etc/ca.pem",
        "unix://app:secret@/run/redis.sock?db=2",
        "unix:///run/re@dis.sock",
        "sqlite:///srv/a@b#c.db",
        "sentinel://:pw@one:26379;sentinel://two:26380/4",
        "amqp://guest:guest@[::1]:5672//",
        "kombu+sqs://KEY:SEC%2FRET@",
    ],
)
def test_a_sound_address_is_left_alone(url: str) -> None:
    assert wrong_in(url) is None


@pytest.mark.parametrize(
    "url", ["redis://host/x1", "unix:///r.sock?db=x", "sentinel://a,b:26379/x", "sentinel://a:b/0"]
)
def test_numbers_that_are_none_are_refused_in_code_as_in_the_file(url: str) -> None:
    with pytest.raises(TaskdError, match="is not a number"):
        brokers.connect(url, Stores())


def test_only_the_place_is_shown() -> None:
    assert shown("redis://app:pw@host:1/0?password=x") == "redis://host:1/0"
    assert shown("sentinel://:pw@one;sentinel://:pw@two/4") == "sentinel://one;sentinel://two/4"
    assert masked("redis://app:p/w@host/0?password=x") == "redis://app:***@host/0?***"
    assert masked("redis://pw@host/0") == "redis://***:***@host/0"


def test_a_librarys_error_is_told_without_the_secrets_of_the_address() -> None:
    url = "kombu+sqla+postgresql://app:hun%23ter2@host/db?sslpassword=other"

    said = told(OSError("cannot open postgresql://app:hun#ter2@host/db: hun%23ter2, other"), url)

    assert "hun" not in said
    assert "other" not in said
    assert scrubbed("nothing to hide", url) == "nothing to hide"


def test_every_address_of_the_configuration_is_shown_masked() -> None:
    urls = [
        leaf
        for _, leaf in walk(Config(broker="redis://a:pw/x@host/0", results="redis://a:pw/x@host/0"))
        if isinstance(leaf, KeyValue) and "pw/x" in str(leaf.value)
    ]

    assert len(urls) == 2
    assert not [leaf for leaf in urls if "pw" in leaf.shown]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://h", "redis://h:6379/0"),
        ("redis://h/0", "redis://H:6379?db=0"),
        ("redis:///3", "rediss://localhost:6379/3"),
        ("redis://app:pw@h/0", "redis://:other@h/0"),
        ("unix:///run/r.sock?db=2", "redis+socket:///run/r.sock?virtual_host=2"),
        ("unix:///run/r.sock", "unix:///run//r.sock?db=0"),
        ("sentinel://a:26379,b/1", "sentinel://a;sentinel://b:26379/1"),
        ("amqp://guest:guest@h", "pyamqp://h:5672//"),
        ("amqp://h/%2Fshop", "amqp://h//shop"),
        ("redis://[::1]/0", "redis://[::1]:6379"),
        ("sqlite:///var/x.db", "sqlite:////var/lib/../x.db"),
        ("memory://a", "memory://a"),
        ("theirs://h:1/x", "theirs://u:p@h:1/x"),
    ],
)
def test_two_ways_to_write_an_address_lead_to_the_same_server(one: str, other: str) -> None:
    assert same_server(one, other)
    assert same_server(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("redis://h/0", "redis://h/1"),
        ("redis://h/0", "redis://g/0"),
        ("redis://h:6379", "redis://h:6380"),
        ("redis://h:6379", "amqp://h:6379"),
        ("unix:///run/r.sock", "unix:///run/s.sock"),
        ("sqlite:///var/x.db", "sqlite:///var/y.db"),
        ("memory://a", "memory://b"),
        ("amqp://h/shop", "amqp://h//shop"),
        ("theirs://h/x", "others://h/x"),
    ],
)
def test_addresses_of_two_servers_or_databases_are_told_apart(one: str, other: str) -> None:
    assert not same_server(one, other)


def test_a_login_is_the_same_however_it_is_written() -> None:
    assert same_login("redis://app:p%40w@h", "redis://app:p%40w@h:6379/0")
    assert same_login("redis://app:p%77@h", "redis://app:pw@h")
    assert not same_login("redis://app:pw@h", "redis://h")
    assert not same_login("unix:///r.sock?password=x", "unix:///r.sock?db=0")


def test_the_servers_of_an_address_have_their_ports() -> None:
    assert servers_of("sentinel://:pw@a:1,b/0") == [("a", 1), ("b", 26379)]
    assert servers_of("amqps://h/x") == [("h", 5671)]
    assert servers_of("redis://[::1]/0") == [("[::1]", 6379)]
    assert servers_of("sqlite:///x.db") == []
