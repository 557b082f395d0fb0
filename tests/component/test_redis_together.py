"""On one Redis results are written and messages settled in one step, or neither."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from taskd.base.errors import StorageError
from taskd.brokers.base import Carrying
from taskd.brokers.redis.broker import RedisBroker
from taskd.config.stores import RedisConfig
from taskd.protocol.delivery import Ack, Outgoing, Requeue
from taskd.results.base import StoredResult
from taskd.results.redis import RedisResults
from taskd.storage.redis.address import address_of
from taskd.storage.redis.link import RedisLink
from tests import services


@pytest.fixture
def url() -> str:
    return services.redis_database()


@pytest.fixture
def broker(url: str) -> Iterator[RedisBroker]:
    with closing(RedisBroker(url, RedisConfig())) as opened:
        opened.publisher().publish([Outgoing(routing_key="mail", headers=b"{}", body=b"x")])
        yield opened


@pytest.fixture
def results(url: str) -> Iterator[RedisResults]:
    with closing(RedisResults(url, RedisConfig())) as opened:
        yield opened


def retried(task_id: str) -> StoredResult:
    return StoredResult(task_id, "RETRY", b'{"status":"RETRY"}', None)


def test_results_are_there_and_the_message_is_gone(broker: RedisBroker, results: RedisResults) -> None:
    intake = broker.intake("w@a", ["mail"], lease_s=10.0)
    assert isinstance(intake, Carrying)
    (claimed,) = intake.claim(10)

    refused = intake.settle_after(results.writing([retried("a"), retried("b")]), [Ack(claimed.tag)])

    assert refused == []
    assert set(results.get(["a", "b"])) == {"a", "b"}
    intake.close()
    assert broker.intake("w@b", ["mail"], lease_s=10.0).depth() == 0


def test_nothing_is_settled_when_the_results_cannot_be_written(
    url: str, broker: RedisBroker, results: RedisResults
) -> None:
    intake = broker.intake("w@a", ["mail"], lease_s=10.0)
    assert isinstance(intake, Carrying)
    (claimed,) = intake.claim(10)
    with closing(RedisLink(address_of(url, timeout_s=5.0, master=""))) as link:
        link.call("RPUSH", "celery-task-meta-a", "in the way")

    with pytest.raises(StorageError, match="WRONGTYPE"):
        intake.settle_after(results.writing([retried("a")]), [Ack(claimed.tag)])

    assert intake.settle([Requeue(claimed.tag, started=False)]) == []
    assert [each.body for each in intake.claim(10)] == [b"x"]


def test_results_are_written_although_no_claim_is_left(broker: RedisBroker, results: RedisResults) -> None:
    intake = broker.intake("w@a", ["mail"], lease_s=10.0)
    assert isinstance(intake, Carrying)

    assert intake.settle_after(results.writing([retried("a")]), [Ack(77)]) == [77]

    assert set(results.get(["a"])) == {"a"}
