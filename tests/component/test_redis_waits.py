"""Waits for results on Redis: which connections they use, and what becomes of these."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from redis import Redis

from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.config.stores import RedisConfig
from taskd.results import redis_listeners
from taskd.results.base import StoredResult
from taskd.results.redis import RedisResults
from tests.services import RedisServer
from tests.waiting import wait_until

CONFIG = RedisConfig(timeout=20.0)
RECORD = b'{"status": "SUCCESS", "result": 1}'


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    started = RedisServer()
    yield started
    started.end()


@pytest.fixture
def admin(server: RedisServer) -> Iterator[Redis]:
    with closing(Redis(port=server.port)) as client:
        client.flushall()
        yield client


@pytest.fixture
def results(server: RedisServer) -> Iterator[RedisResults]:
    with closing(RedisResults(server.url, CONFIG)) as opened:
        yield opened


@pytest.fixture(autouse=True)
def _alone(admin: Redis) -> None:
    """The connections of the test before are gone: the server sees their end in its own time."""
    wait_until(lambda: listeners(admin) == 0)


def waited(results: RedisResults, admin: Redis, task_id: str) -> list[str]:
    """Wait for a result that comes when somebody listens for it; return the ids that the wait found."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.extend(results.wait([task_id], Deadline.after(20.0))))
    thread.start()
    channel = f"celery-task-meta-{task_id}"
    wait_until(lambda: admin.pubsub_numsub(channel)[0][1] == 1)
    admin.set(channel, RECORD)
    admin.publish(channel, RECORD)
    thread.join(60.0)
    return found


def connections(admin: Redis) -> int:
    return int(admin.info("stats")["total_connections_received"])


def listeners(admin: Redis) -> int:
    return sum(each["cmd"] in ("subscribe", "unsubscribe") for each in admin.client_list())


def test_one_wait_after_the_other_needs_no_new_connection(results: RedisResults, admin: Redis) -> None:
    assert waited(results, admin, "a") == ["a"]
    before = connections(admin)

    assert [waited(results, admin, each) for each in "bcd"] == [["b"], ["c"], ["d"]]
    assert connections(admin) == before


def test_a_wait_that_has_ended_hears_no_more(results: RedisResults, admin: Redis) -> None:
    assert waited(results, admin, "over") == ["over"]

    wait_until(lambda: admin.pubsub_channels("celery-task-meta-*") == [])


def test_a_wait_in_vain_keeps_its_connection_too(results: RedisResults, admin: Redis) -> None:
    def listened_in_vain() -> bool:
        """On a slow machine the time of a wait may be over before it listens."""
        return results.wait(["nobody"], Deadline.after(0.01)) == {} and listeners(admin) == 1

    wait_until(listened_in_vain)
    before = connections(admin)

    for _ in range(10):
        assert results.wait(["nobody"], Deadline.after(0.01)) == {}
    assert connections(admin) == before


def test_a_kept_connection_that_the_server_has_closed_is_replaced(
    results: RedisResults, admin: Redis
) -> None:
    assert waited(results, admin, "before") == ["before"]
    (kept,) = wait_until(lambda: [each for each in admin.client_list() if each["cmd"] == "unsubscribe"])
    admin.client_kill(kept["addr"])

    assert waited(results, admin, "after") == ["after"]


def test_a_kept_connection_that_lay_unused_for_long_is_not_trusted(
    results: RedisResults, admin: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert waited(results, admin, "early") == ["early"]
    before = connections(admin)

    monkeypatch.setattr(redis_listeners, "_FRESH_S", 0.0)

    assert waited(results, admin, "late") == ["late"]
    assert connections(admin) == before + 1
    wait_until(lambda: listeners(admin) == 1)


def test_more_threads_wait_than_connections_are_kept(results: RedisResults, admin: Redis) -> None:
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda each=each: found.extend(results.wait([each], Deadline.after(20.0))))
        for each in map(str, range(12))
    ]
    for thread in threads:
        thread.start()
    wait_until(lambda: len(admin.pubsub_channels("celery-task-meta-*")) == 12)

    for each in map(str, range(12)):
        admin.set(f"celery-task-meta-{each}", RECORD)
        admin.publish(f"celery-task-meta-{each}", RECORD)
    for thread in threads:
        thread.join(60.0)

    assert sorted(found, key=int) == [str(number) for number in range(12)]
    wait_until(lambda: listeners(admin) == redis_listeners._MOST_KEPT)


def test_a_user_who_may_not_take_back_a_channel_waits_all_the_same(server: RedisServer, admin: Redis) -> None:
    admin.acl_setuser(
        "narrow", enabled=True, nopass=True, keys=["*"], channels=["*"], commands=["+@all", "-unsubscribe"]
    )
    url = server.url.replace("//", "//narrow:any@")
    with closing(RedisResults(url, CONFIG)) as results:
        assert [waited(results, admin, each) for each in ("one", "two")] == [["one"], ["two"]]


def test_collecting_bears_a_server_that_is_restarted() -> None:
    own = RedisServer()
    found: list[str] = []
    try:
        with closing(RedisResults(own.url, CONFIG)) as results:
            collector = results.collect(["a", "b"])
            # A store that has answered once is borne with.
            assert collector.next(Deadline.after(0.0)) == {}
            thread = threading.Thread(target=lambda: found.extend(collector.next(Deadline.after(60.0))))
            thread.start()
            own.kill()
            own.start()

            results.store([StoredResult("b", "SUCCESS", RECORD, None)])
            thread.join(60.0)
            collector.close()

            assert found == ["b"]
            own.kill()
            with pytest.raises(StorageError):
                results.collect(["a"]).next(Deadline.after(20.0))
    finally:
        own.end()


def test_a_result_that_only_python_reads_is_waited_for(results: RedisResults) -> None:
    record = b'{"status":"SUCCESS","result":NaN,"task_id":"odd","traceback":null,"children":[]}'
    results.store([StoredResult("odd", "SUCCESS", record, None)])

    assert results.wait(["odd"], Deadline.after(0.0)) == {"odd": record}


def test_a_closed_store_leaves_no_connection(server: RedisServer, admin: Redis) -> None:
    opened = RedisResults(server.url, CONFIG)
    assert waited(opened, admin, "last") == ["last"]

    opened.close()

    wait_until(lambda: listeners(admin) == 0)


def test_a_fork_waits_on_a_connection_of_its_own(results: RedisResults, admin: Redis) -> None:
    assert waited(results, admin, "parent") == ["parent"]

    child = os.fork()
    if child == 0:
        os._exit(0 if results.wait(["forked"], Deadline.after(20.0)) else 1)
    wait_until(lambda: admin.pubsub_numsub("celery-task-meta-forked")[0][1] == 1)
    admin.set("celery-task-meta-forked", RECORD)
    admin.publish("celery-task-meta-forked", RECORD)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert waited(results, admin, "parent again") == ["parent again"]
