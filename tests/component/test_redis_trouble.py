"""The Redis server fails in every way that its users know: nothing is lost, and what must be said is said."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import TypeVar

import pytest
from redis import Redis

from taskd.base import clock
from taskd.base.errors import LeaseLostError, StorageError, StorageFullError
from taskd.base.lifecycle import Deadline
from taskd.brokers.base import Intake
from taskd.brokers.desk import DeadFilter
from taskd.brokers.redis.broker import RedisBroker
from taskd.brokers.redis.connections import RedisConnections
from taskd.config.stores import RedisConfig
from taskd.protocol.delivery import Ack, Dead, Delay, LetterKind, Replace, UnclaimedFailure
from taskd.results.base import StoredResult
from taskd.results.redis import RedisResults
from taskd.storage.redis.address import address_of
from taskd.storage.redis.link import RedisLink
from tests.contract.brokers import bodies, fall_asleep, is_readable, message
from tests.proxy import Proxy
from tests.redis_servers import new_server
from tests.services import RedisServer
from tests.waiting import wait_until

__all__ = ["new_server"]

CONFIG = RedisConfig(timeout=20.0)
#: For a server that will not answer.
IMPATIENT = RedisConfig(timeout=2.0)


@pytest.fixture
def server(new_server: Callable[..., RedisServer]) -> RedisServer:
    return new_server()


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Redis]:
    with closing(Redis(port=server.port)) as client:
        yield client


@pytest.fixture
def broker(server: RedisServer) -> Iterator[RedisBroker]:
    with closing(RedisBroker(server.url, CONFIG)) as opened:
        yield opened


@pytest.fixture
def proxied(server: RedisServer) -> Iterator[tuple[Proxy, RedisBroker]]:
    """A broker behind a proxy."""
    proxy = Proxy(server.port)
    with closing(proxy), closing(RedisBroker(f"redis://127.0.0.1:{proxy.port}/0", CONFIG)) as opened:
        yield proxy, opened


T = TypeVar("T")


def publish(broker: RedisBroker, *texts: str) -> None:
    with closing(broker.publisher()) as publisher:
        publisher.publish([message(text) for text in texts])


def insist(call: Callable[[], T]) -> T:
    """Make a call again until it no longer fails."""

    def attempt() -> tuple[T] | None:
        with contextlib.suppress(StorageError):
            return (call(),)
        return None

    return wait_until(attempt, 10)[0]


def waiting(broker: RedisBroker) -> list[tuple[int, int, int, int]]:
    with closing(broker.desk()) as desk:
        return [(queue.ready, queue.delayed, queue.claimed, queue.dead) for queue in desk.queues()]


# -- the connection --------------------------------------------------------------------------


@pytest.mark.parametrize("lost", range(1, 25))
def test_a_connection_lost_in_the_middle_of_any_call_loses_and_repeats_nothing(
    lost: int, broker: RedisBroker, proxied: tuple[Proxy, RedisBroker]
) -> None:
    proxy, behind = proxied
    publish(broker, *map(str, range(10)))
    intake = behind.intake("w", ["mail"])
    runs: Counter[str] = Counter()

    proxy.lose({lost})
    while len(runs) < 10:
        claimed = insist(lambda: intake.claim(4))
        runs.update(bodies(claimed))
        insist(lambda: intake.settle([Ack(each.tag) for each in claimed]))  # noqa: B023
        insist(intake.renew)
        insist(intake.clear_wakeups)

    assert set(runs.values()) == {1}
    assert waiting(broker) == [(0, 0, 0, 0)]


def test_a_worker_hears_of_messages_again_after_each_of_its_connections_was_killed(
    broker: RedisBroker, admin: Redis
) -> None:
    for number in range(2):
        intake = broker.intake("w", ["mail"])
        ours = [client["id"] for client in admin.client_list() if client["name"].startswith("taskd@")]
        admin.client_kill_filter(_id=sorted(ours, key=int)[-2:][number])

        insist(intake.clear_wakeups)
        insist(lambda: intake.claim(10))  # noqa: B023
        while is_readable(intake, 0.05):
            insist(intake.clear_wakeups)
            insist(lambda: intake.claim(10))  # noqa: B023
        publish(broker, "x")

        assert is_readable(intake)
        claimed = intake.claim(10)
        assert bodies(claimed) == ["x"]
        intake.settle([Ack(claimed[0].tag)])
        intake.close()


def test_what_comes_right_behind_a_claim_is_seen(server: RedisServer) -> None:
    address = address_of(server.url, timeout_s=5.0, master="")
    with closing(RedisConnections(RedisLink(address), "nudge")) as connections:
        # The claim stands for somebody who pushes between it and the question what is there.
        connections.listen(("LPUSH", "list", "x"), (), ["list"], ["delayed"])
        assert not connections.told

        connections.listen(("DEL", "list"), (), ["list"], ["delayed"])
        assert connections.told


def test_a_half_open_connection_ends_with_the_timeout_and_keeps_the_claims(
    broker: RedisBroker, server: RedisServer
) -> None:
    proxy = Proxy(server.port)
    publish(broker, "a", "b")
    with closing(proxy), closing(RedisBroker(f"redis://127.0.0.1:{proxy.port}/0", IMPATIENT)) as behind:
        intake = behind.intake("w", ["mail"])
        (claimed,) = intake.claim(1)

        proxy.silence()
        with pytest.raises(StorageError, match="did not answer in time"):
            intake.settle([Ack(claimed.tag)])
        proxy.speak()

        assert insist(lambda: intake.settle([Ack(claimed.tag)])) == []
        assert bodies(intake.claim(10)) == ["b"]


@pytest.mark.parametrize("delay_s", [0.002, 0.02])
def test_a_slow_server_is_only_slow(delay_s: float, server: RedisServer, broker: RedisBroker) -> None:
    texts = [str(number) for number in range(200)]
    proxy = Proxy(server.port, delay_s=delay_s)
    with closing(proxy), closing(RedisBroker(f"redis://127.0.0.1:{proxy.port}/0", CONFIG)) as slow:
        intake = slow.intake("w", ["mail"])
        fall_asleep(intake)
        publish(slow, *texts)

        assert is_readable(intake)
        claimed = intake.claim(500)
        assert bodies(claimed) == texts
        assert intake.settle([Ack(each.tag) for each in claimed]) == []

    assert waiting(broker) == [(0, 0, 0, 0)]


# -- the server ------------------------------------------------------------------------------


def test_forgotten_scripts_are_sent_again_in_the_middle_of_work(broker: RedisBroker, admin: Redis) -> None:
    publish(broker, "a", "b", "c")
    intake = broker.intake("w", ["mail"])
    results = RedisResults(broker.url, CONFIG)

    admin.script_flush()
    (first,) = intake.claim(1)
    admin.script_flush()
    assert intake.settle([Delay(first.tag, clock.now() - 1)]) == []
    admin.script_flush()
    intake.renew()
    admin.script_flush()
    results.store([StoredResult("id", "SUCCESS", b'{"status": "SUCCESS"}', None)])

    assert sorted(bodies(intake.claim(10))) == ["a", "b", "c"]
    assert list(results.get(["id"])) == ["id"]
    results.close()


def test_a_server_that_kept_its_data_finds_the_claims_as_they_were(
    new_server: Callable[..., RedisServer],
) -> None:
    server = new_server("--appendonly", "yes", "--appendfsync", "always")
    with closing(RedisBroker(server.url, CONFIG)) as broker:
        publish(broker, "a", "b")
        intake = broker.intake("w", ["mail"])
        (first,) = intake.claim(1)

        server.kill()
        with pytest.raises(StorageError):
            intake.settle([Ack(first.tag)])
        server.start()

        assert insist(lambda: intake.settle([Ack(first.tag)])) == []
        (second,) = intake.claim(10)
        assert (second.body, second.deliveries) == (b"b", 1)


def test_a_server_that_lost_its_data_fences_off_who_held_claims(
    server: RedisServer, broker: RedisBroker
) -> None:
    publish(broker, "a")
    intake = broker.intake("w", ["mail"])
    (first,) = intake.claim(1)

    server.kill()
    server.start()

    with pytest.raises(LeaseLostError):
        insist(intake.renew)
    publish(broker, "b")
    successor = broker.intake("w", ["mail"])
    assert bodies(successor.claim(10)) == ["b"]
    assert intake.settle([Ack(first.tag)]) == [first.tag]
    assert waiting(broker) == [(0, 0, 1, 0)]


def test_a_server_that_lost_its_last_second_gives_no_tag_twice(broker: RedisBroker, admin: Redis) -> None:
    publish(broker, "a", "b")
    intake = broker.intake("w", ["mail"])
    before = {key: admin.dump(key) for key in admin.scan_iter()}
    (first,) = intake.claim(1)

    admin.flushall()
    for key, value in before.items():
        assert value is not None
        admin.restore(key, 0, value)
    admin.client_kill_filter(skipme=True, _type="normal")

    again = insist(lambda: intake.claim(10))
    assert bodies(again) == ["a", "b"]
    assert first.tag not in {each.tag for each in again}
    intake.settle([Ack(first.tag)])
    assert waiting(broker) == [(0, 0, 2, 0)]


def test_a_read_only_replica_is_named_as_such_and_used_when_it_is_the_master_again(
    broker: RedisBroker, admin: Redis
) -> None:
    publish(broker, "a")
    intake = broker.intake("w", ["mail"])

    admin.execute_command("REPLICAOF", "127.0.0.1", "1")  # nobody is there: it keeps its data
    with pytest.raises(StorageError, match="read-only replica"):
        insist_on_an_answer(intake)
    with pytest.raises(StorageError, match="read-only replica"):
        publish(broker, "b")
    admin.execute_command("REPLICAOF", "NO", "ONE")

    assert bodies(insist(lambda: intake.claim(10))) == ["a"]


def insist_on_an_answer(intake: Intake) -> None:
    """Claim until the server says no, and not only that the connection is gone."""

    def answer() -> StorageError | None:
        try:
            intake.claim(1)
        except StorageError as error:
            return None if "cannot be reached" in str(error) else error
        return None

    raise wait_until(answer, 10)


def test_a_full_server_refuses_senders_and_is_emptied_by_its_workers(
    broker: RedisBroker, admin: Redis
) -> None:
    publish(broker, *map(str, range(20)))
    admin.config_set("maxmemory", "1")

    with pytest.raises(StorageFullError, match="out of memory"):
        publish(broker, "no room")
    intake = broker.intake("w", ["mail"])
    claimed = intake.claim(10)
    intake.settle([Delay(each.tag, clock.now() - 1) for each in claimed])
    intake.renew()
    rest = intake.claim(100)

    assert sorted(map(int, bodies(rest))) == list(range(20))
    assert intake.settle([Dead(rest[0].tag, "evidence"), *(Ack(each.tag) for each in rest[1:])]) == []
    with closing(broker.desk()) as desk:
        assert desk.purge("mail") == 0
        assert desk.purge_dead(desk.dead_ids()) == 1
    admin.config_set("maxmemory", "0")
    assert waiting(broker) == [(0, 0, 0, 0)]


def test_a_full_server_keeps_failures_and_sends_them_again(broker: RedisBroker, admin: Redis) -> None:
    publish(broker, "claimed", "early")
    intake = broker.intake("w", ["mail"])
    claimed, early = intake.claim(2)
    admin.config_set("maxmemory", "1")

    assert intake.settle([Dead(claimed.tag, "no", kind=LetterKind.FAILED)]) == []
    assert intake.settle([Ack(early.tag)]) == []
    intake.keep([UnclaimedFailure(early, "no")])
    intake.renew()

    with closing(broker.desk()) as desk:
        assert desk.queues()[0].failed == 2
        assert desk.requeue_dead(desk.dead_ids(DeadFilter(kind=LetterKind.FAILED))) == 2
    assert sorted(bodies(intake.claim(10))) == ["claimed", "early"]


def test_a_full_server_settles_nothing_by_halves(broker: RedisBroker, admin: Redis) -> None:
    publish(broker, "a")
    intake = broker.intake("w", ["mail"])
    (first,) = intake.claim(1)

    admin.config_set("maxmemory", "1")
    intake.settle([Replace(first.tag, message("again"))])

    assert bodies(intake.claim(10)) == ["again"]


def test_a_queue_whose_key_holds_something_else_takes_no_message_silently(
    broker: RedisBroker, admin: Redis
) -> None:
    admin.set("mail", "someone's own")

    with pytest.raises(StorageError, match="wrong kind of value"):
        publish(broker, "a")
    with closing(broker.publisher()) as publisher, pytest.raises(StorageError, match="wrong kind of value"):
        publisher.publish([message("a"), message("b", queue="other")])
    assert admin.get("mail") == b"someone's own"


# -- clocks ----------------------------------------------------------------------------------


def test_workers_whose_clocks_are_wrong_by_hours_agree_by_the_servers(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(RedisBroker(server.url, CONFIG)) as late, closing(RedisBroker(server.url, CONFIG)) as early:
        publish(late, "a")
        holder = late.intake("late", ["mail"], lease_s=5.0)
        (held,) = holder.claim(1)

        monkeypatch.setattr(clock, "now", lambda: 4e9)
        other = early.intake("early", ["mail"], lease_s=5.0)

        assert list(other.claim(10)) == []
        assert holder.settle([Ack(held.tag)]) == []


# -- results ---------------------------------------------------------------------------------


def test_results_of_a_server_that_is_away_are_an_error_and_then_there(server: RedisServer) -> None:
    results = RedisResults(server.url, CONFIG)
    record = StoredResult("id", "SUCCESS", b'{"status": "SUCCESS"}', None)

    server.kill()
    for call in (
        lambda: results.store([record]),
        lambda: results.get(["id"]),
        lambda: results.wait(["id"], Deadline.after(1.0)),
        lambda: results.forget(["id"]),
    ):
        with pytest.raises(StorageError, match="cannot be reached"):
            call()
    server.start()

    results.store([record])
    assert results.wait(["id"], Deadline.after(5.0)) == {"id": record.record}
    results.close()


def test_a_full_server_refuses_results_by_name(server: RedisServer, admin: Redis) -> None:
    results = RedisResults(server.url, CONFIG)
    admin.config_set("maxmemory", "1")

    with pytest.raises(StorageFullError, match="out of memory"):
        results.store([StoredResult("id", "SUCCESS", b"{}", None)])
    results.close()
