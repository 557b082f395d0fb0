"""What a Celery worker had claimed on Redis when it was killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from kombu.connection import Connection

from taskd.brokers.redis.broker import RedisBroker
from taskd.brokers.redis.keys import Keys
from taskd.cli.taskctl import main
from taskd.config.stores import RedisConfig
from taskd.protocol.delivery import Outgoing
from taskd.storage.redis.address import address_of
from taskd.storage.redis.link import RedisLink
from tests import services

KEYS = Keys("", 0)
HOUR_S = 3600

#: A consumer of kombu's that is killed while it holds all messages of two queues.
KILLED = """
import os, sys
from kombu import Connection, Exchange, Queue
channel = Connection(sys.argv[1]).channel()
for name in sys.argv[2:]:
    queue = Queue(name, Exchange(name), routing_key=name)(channel)
    queue.declare()
    while queue.get() is not None:
        pass
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def url() -> str:
    return services.redis_database()


@pytest.fixture
def link(url: str) -> Iterator[RedisLink]:
    with closing(RedisLink(address_of(url, timeout_s=5.0, master=""))) as opened:
        yield opened


@pytest.fixture
def broker(url: str) -> Iterator[RedisBroker]:
    with closing(RedisBroker(url, RedisConfig())) as opened:
        yield opened


def message(queue: str, body: bytes, priority: int = 0) -> Outgoing:
    return Outgoing(routing_key=queue, headers=b'{"id":"a"}', body=body, priority=priority)


@pytest.fixture
def leave(url: str, broker: RedisBroker, link: RedisLink) -> Callable[..., None]:
    """Publish messages, and let a consumer of kombu's die that holds them, some seconds ago."""

    def leave(*messages: Outgoing, ago_s: float) -> None:
        broker.publisher().publish(messages)
        queues = sorted({each.routing_key for each in messages})
        subprocess.run([sys.executable, "-c", KILLED, url, *queues], check=False, timeout=60)
        now = link.call("TIME")[0]
        for tag in link.call("ZRANGE", KEYS.unacked_index, 0, -1):
            link.call("ZADD", KEYS.unacked_index, int(now) - ago_s, tag)

    return leave


def test_what_a_killed_consumer_of_kombu_held_runs_when_its_visibility_has_passed(
    broker: RedisBroker, leave: Callable[..., None], link: RedisLink
) -> None:
    leave(message("mail", b"x", priority=4), message("mail", b"y"), ago_s=HOUR_S + 10)
    intake = broker.intake("w@a", ["mail"], lease_s=10.0)
    assert intake.claim(10) == []

    intake.renew()

    claimed = intake.claim(10)
    assert [(each.body, each.priority, each.deliveries) for each in claimed] == [(b"y", 0, 2), (b"x", 4, 2)]
    assert json.loads(claimed[0].headers) == {"id": "a", "redelivered": True}
    assert link.call("EXISTS", KEYS.unacked, KEYS.unacked_index) == 0


def test_what_a_consumer_of_kombu_may_still_hold_is_shown_and_left_to_it(
    broker: RedisBroker, leave: Callable[..., None]
) -> None:
    leave(message("mail", b"x"), message("other", b"y"), message("other", b"z"), ago_s=HOUR_S - 100)
    intake = broker.intake("w@a", ["mail"], lease_s=10.0)

    intake.renew()

    assert intake.claim(10) == []
    assert {each.name: each.unacked for each in broker.desk().queues()} == {"mail": 1, "other": 2}


def test_taskctl_and_doctor_show_what_is_with_celery_workers(
    url: str, leave: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    leave(message("mail", b"x"), message("mail", b"y"), ago_s=0)
    file = tmp_path / "taskd.toml"
    file.write_text(f'app = "tests.system.shop:app"\nbroker = "{url}"\n')

    main(["--config", str(file), "queues"])
    head, row = (line.split() for line in capsys.readouterr().out.splitlines())
    main(["--config", str(file), "doctor"])

    assert dict(zip(head, row, strict=True))["UNACKED"] == "2"
    assert "2 messages are with Celery workers" in capsys.readouterr().out


def test_what_belongs_to_no_queue_stays_and_does_not_hide_the_rest(
    broker: RedisBroker, leave: Callable[..., None], link: RedisLink
) -> None:
    leave(message("mail", b"x"), ago_s=HOUR_S + 10)
    for tag, text in (("1", "no JSON"), ("2", '[{}, "nowhere", "key"]'), ("3", "[]")):
        link.call("HSET", KEYS.unacked, tag, text)
        link.call("ZADD", KEYS.unacked_index, tag, tag)
    intake = broker.intake("w@a", ["mail"], lease_s=10.0)

    intake.renew()

    assert [each.body for each in intake.claim(10)] == [b"x"]
    assert sorted(link.call("HKEYS", KEYS.unacked)) == [b"1", b"2", b"3"]


def test_a_restored_message_is_one_that_kombu_reads(
    url: str, broker: RedisBroker, leave: Callable[..., None]
) -> None:
    leave(message("mail", b"x", priority=9), ago_s=HOUR_S + 10)

    broker.intake("w@a", ["another"], lease_s=10.0).renew()

    with Connection(url) as connection:
        found = connection.channel().basic_get("mail")
        assert (found.body, found.properties["priority"]) == (b"x", 9)
        assert found.delivery_info["redelivered"]


def test_while_a_celery_worker_restores_taskd_does_not(
    broker: RedisBroker, leave: Callable[..., None], link: RedisLink
) -> None:
    leave(message("mail", b"x"), ago_s=HOUR_S + 10)
    link.call("SET", KEYS.unacked_mutex, "held")
    intake = broker.intake("w@a", ["mail"], lease_s=10.0)

    intake.renew()

    assert intake.claim(10) == []
