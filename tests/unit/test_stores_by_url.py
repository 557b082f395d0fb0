"""URLs of brokers and result stores, and what ``null://`` answers.  Nothing is opened."""

from __future__ import annotations

import pytest

from taskd.base.errors import BrokerError, StorageError
from taskd.base.lifecycle import Deadline
from taskd.brokers import factory as brokers
from taskd.config.stores import Stores
from taskd.results import factory as results
from taskd.results.base import StoredResult
from taskd.storage.sqlite.database import path_of


@pytest.mark.parametrize("url", ["sqlite:///var/lib/taskd/b.db", "memory://", "memory://name"])
def test_a_broker_is_opened_by_its_scheme(url: str) -> None:
    assert brokers.connect(url, Stores()).url == url


def test_an_unknown_broker_is_refused_with_what_is_supported() -> None:
    with pytest.raises(BrokerError, match=r'"http://"; supported: sqlite://, memory://, redis://'):
        brokers.connect("http://localhost", Stores())


def test_an_unknown_result_store_is_refused_with_what_is_supported() -> None:
    with pytest.raises(StorageError, match=r'"cache://"; supported: sqlite://, memory://, null://'):
        results.connect("cache://", Stores())


def test_results_as_messages_need_a_broker_that_carries_them() -> None:
    with pytest.raises(StorageError, match=r"travel over RabbitMQ"):
        results.connect("rpc://", Stores())


def test_three_slashes_name_an_absolute_path() -> None:
    assert path_of("sqlite:///var/lib/x.db") == "/var/lib/x.db"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:x.db", "x.db", "memory://x"])
def test_a_url_without_a_file_is_refused(url: str) -> None:
    with pytest.raises(StorageError, match="names no SQLite file"):
        path_of(url)


def test_brokers_of_the_same_memory_url_see_one_another() -> None:
    first, second = (brokers.connect("memory://shared-in-a-test", Stores()) for _ in range(2))
    box = first.mailbox("box", "x", "fanout")
    other = brokers.connect("memory://another-in-a-test", Stores())

    assert second.desk().queues() == first.desk().queues()
    assert other.desk().queues() == []
    box.close()


def test_without_results_nothing_is_kept_and_waiting_is_refused() -> None:
    store = results.connect("null://", Stores())

    store.store([StoredResult("a", "SUCCESS", b"{}", None)])

    assert store.get(["a"]) == {}
    assert store.expire(1.0) == 0
    with pytest.raises(StorageError, match="results are off"):
        store.wait(["a"], Deadline.after(60.0))
