"""Messages are seen as they go by, and nothing of the queues changes: on Redis, and on a traced RabbitMQ."""

from __future__ import annotations

import json
import select
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from taskd.base.errors import BackendError, BrokerError, StorageError
from taskd.brokers.amqp.broker import AmqpBroker
from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.base import MessageWatch, Watching
from taskd.brokers.factory import connect
from taskd.brokers.redis.broker import RedisBroker
from taskd.config.stores import AmqpConfig, RedisConfig, Stores
from taskd.protocol.delivery import Delivery
from taskd.storage.redis import monitor
from tests import services
from tests.contract.brokers import bodies, message, send
from tests.redis_servers import new_server
from tests.services import RedisServer
from tests.system.celery_client import CELERYS_WARNINGS, client_over
from tests.waiting import wait_until

__all__ = ["new_server"]

pytestmark = CELERYS_WARNINGS


@pytest.fixture
def server(new_server: Callable[..., RedisServer]) -> RedisServer:
    return new_server()


@pytest.fixture
def redis(server: RedisServer) -> Iterator[RedisBroker]:
    with closing(RedisBroker(server.url, RedisConfig())) as broker:
        yield broker


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Redis]:
    with closing(Redis(port=server.port)) as client:
        yield client


@pytest.fixture
def traced() -> str:
    """The address of a virtual host of RabbitMQ that traces its messages."""
    url = services.rabbit_url()
    services.rabbit_server().control("trace_on", "-p", url.rpartition("/")[2])
    return url


@pytest.fixture
def rabbit(traced: str) -> Iterator[AmqpBroker]:
    with closing(AmqpBroker(AmqpServer(traced, AmqpConfig()))) as broker:
        yield broker


def seen(watch: MessageWatch) -> Sequence[Delivery]:
    """Return all that was sent until now, which a first look may bring in part."""
    watch.catch_up()
    found: list[Delivery] = []
    while new := watch.receive():
        found += new
    return found


def names(deliveries: Sequence[Delivery]) -> list[str]:
    return [json.loads(each.headers)["task"] for each in deliveries]


def contents(admin: Redis) -> Mapping[Any, Any]:
    """Return all that the server holds."""
    return {key: admin.dump(key) for key in admin.scan_iter()}


# -- Redis ---------------------------------------------------------------------------------------


def test_what_waits_and_what_comes_is_seen_and_stays_as_it_is(
    server: RedisServer, redis: RedisBroker, admin: Redis
) -> None:
    with client_over(server.url) as client:
        for number in range(3):
            client.send_task(f"waiting.{number}", queue="mail")
        client.send_task("waiting.3", queue="mail", priority=6)
        before = contents(admin)
        with closing(redis.watch(["mail", "none"])) as watch:
            assert names(seen(watch)) == ["waiting.0", "waiting.1", "waiting.2", "waiting.3"]
            assert contents(admin) == before
            for number in range(3):
                client.send_task(f"coming.{number}", ("it's \"\\ é\n",), queue="mail", priority=3)
            client.send_task("elsewhere", queue="other")
            found = seen(watch)
            after = contents(admin)

    assert names(found) == ["coming.0", "coming.1", "coming.2"]
    assert json.loads(found[0].body)[0] == ["it's \"\\ é\n"]
    assert (found[0].queue, found[0].priority) == ("mail", 3)
    assert {key: after[key] for key in before} == before
    assert not any(key.startswith(b"taskd") for key in after)


def test_a_message_that_is_taken_at_once_is_seen_once_also_when_it_comes_back(
    server: RedisServer, redis: RedisBroker, admin: Redis
) -> None:
    with client_over(server.url) as client, closing(redis.watch(["mail"])) as watch:
        for number in range(20):
            client.send_task(f"taken.{number}", queue="mail")
            taken: Any = admin.rpop("mail")
            if number % 2:
                admin.rpush("mail", taken)

        assert names(seen(watch)) == [f"taken.{number}" for number in range(20)]


def test_what_a_celery_worker_holds_is_seen(server: RedisServer, redis: RedisBroker, admin: Redis) -> None:
    with client_over(server.url) as client:
        client.send_task("held", queue="mail")
        raw = admin.rpop("mail")
        admin.hset("unacked", "tag", json.dumps([json.loads(raw), "", "mail"]))  # type: ignore[arg-type]
        admin.hset("unacked", "odd", "?")
        admin.hset("unacked", "other", json.dumps([json.loads(raw), "", "other"]))  # type: ignore[arg-type]
        before = contents(admin)
        with closing(redis.watch(["mail"])) as watch:
            assert names(seen(watch)) == ["held"]

    assert contents(admin) == before


def test_messages_of_taskd_and_of_anybody_are_seen(redis: RedisBroker, admin: Redis) -> None:
    with closing(redis.watch(["mail"])) as watch:
        send(redis, message("a"), message("b"))
        admin.lpush("mail", "no envelope", "another")

        assert bodies(seen(watch)) == ["a", "b", "no envelope", "another"]


def test_a_message_is_waited_for_by_its_descriptor(redis: RedisBroker) -> None:
    with closing(redis.watch(["mail"])) as watch:
        watch.catch_up()
        assert watch.receive() == []
        send(redis, message("a"))

        assert select.select([watch.fileno()], [], [], 60)[0]
        assert bodies(watch.receive()) == ["a"]


def test_what_comes_too_fast_is_counted(redis: RedisBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(monitor, "_MOST_BYTES", 1000)
    with closing(redis.watch(["mail"])) as watch:
        send(redis, message("x" * 900), message("small"))

        assert len(seen(watch)) == 1
        assert watch.unseen == {"": 1}


def test_a_user_who_may_not_monitor_is_told_the_remedy(server: RedisServer, admin: Redis) -> None:
    admin.execute_command("ACL", "SETUSER", "shop", "on", ">pw", "~*", "&*", "+@all", "-monitor")
    url = f"redis://shop:pw@127.0.0.1:{server.port}/0"
    refused = pytest.raises(StorageError, match=r"refuses MONITOR.*\+monitor")
    with closing(RedisBroker(url, RedisConfig())) as broker, refused:
        broker.watch(["mail"])


def test_a_server_that_goes_away_ends_the_watch(server: RedisServer, redis: RedisBroker) -> None:
    with closing(redis.watch(["mail"])) as watch:
        send(redis, message("last"))
        watch.catch_up()
        server.kill()

        assert select.select([watch.fileno()], [], [], 60)[0]
        found: list[Delivery] = []
        with pytest.raises(StorageError, match="cannot be reached"):
            wait_until(lambda: found.extend(watch.receive()), what="the end of the watch")
        assert bodies(found) == ["last"]
        with pytest.raises(BackendError):
            watch.catch_up()


def test_no_monitor_is_left_on_the_server(redis: RedisBroker, admin: Redis) -> None:
    def monitors() -> list[str]:
        return [client["flags"] for client in admin.client_list() if "O" in client["flags"]]

    watch = redis.watch(["mail"])
    assert monitors() == ["O"]
    watch.close()
    watch.close()

    wait_until(lambda: not monitors(), what="the end of MONITOR")


# -- RabbitMQ ------------------------------------------------------------------------------------


def queues_of(url: str) -> Mapping[str, int]:
    """Return the queues of a virtual host and how many messages are ready in each."""
    words = ("list_queues", "-p", url.rpartition("/")[2], "--no-table-headers", "name", "messages_ready")
    rows = [line.split("\t") for line in services.rabbit_server().control(*words).splitlines()]
    return {name: int(ready) for name, ready in rows}


@pytest.mark.slow
def test_copies_of_messages_are_seen_by_tracing(traced: str, rabbit: AmqpBroker) -> None:
    with client_over(traced) as client:
        # A message that is sent is there, and none of another connection overtakes it.
        client.conf.broker_transport_options = {"confirm_publish": True}
        client.send_task("waiting", queue="mail")
        client.send_task("elsewhere", queue="other")
        before = queues_of(traced)
        with closing(rabbit.watch(["mail", "none"])) as watch:
            assert watch.unseen == {"mail": 1}
            for number in range(3):
                client.send_task(f"straight.{number}", ("é",), queue="mail", headers={"x-mine": "a\tb"})
            client.send_task("elsewhere", queue="other")
            client.send_task("by exchange", exchange="mail", routing_key="mail", priority=4)
            found = seen(watch)

        assert names(found) == ["straight.0", "straight.1", "straight.2", "by exchange"]
        assert json.loads(found[0].body)[0] == ["é"]
        assert json.loads(found[0].headers)["x-mine"] == "a\tb"
        assert (found[0].queue, found[0].content_type) == ("mail", "application/json")
        assert (found[3].exchange, found[3].routing_key, found[3].priority) == ("mail", "mail", 4)
        assert found[0].correlation_id == json.loads(found[0].headers)["id"]
        wait_until(
            lambda: not any("taskd" in each for each in queues_of(traced)), what="the end of its queue"
        )
        after = queues_of(traced)

    # The client makes its default queue, too, when it sends by an exchange.
    assert after == {**after, **before, "mail": before["mail"] + 4, "other": before["other"] + 1}


@pytest.mark.slow
def test_without_tracing_the_remedy_is_named_and_nothing_is_left() -> None:
    url = services.rabbit_url()
    refused = pytest.raises(BrokerError, match=rf"trace_on -p {url.rpartition('/')[2]}\b")
    with closing(AmqpBroker(AmqpServer(url, AmqpConfig()))) as broker, refused:
        broker.watch(["mail"])

    wait_until(lambda: not queues_of(url), what="the end of the own queue")


@pytest.mark.slow
def test_a_message_for_two_queues_is_seen_in_both(traced: str, rabbit: AmqpBroker) -> None:
    for queue in ("one", "two"):
        rabbit.bind(queue, "both", "fanout", "")
    with closing(rabbit.watch(["one", "two"])) as watch:
        send(rabbit, message("a", queue="", exchange="both"))

        assert sorted(each.queue for each in seen(watch)) == ["one", "two"]


# -- others --------------------------------------------------------------------------------------


@pytest.mark.parametrize("url", ["kombu+memory://", "kombu+filesystem://", "memory://x", "sqlite:///x.db"])
def test_other_brokers_do_not_promise_to_be_watched(url: str) -> None:
    with closing(connect(url, Stores())) as broker:
        assert not isinstance(broker, Watching)
