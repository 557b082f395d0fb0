"""Garbage straight onto the lists of Redis, as anybody with the password can put it there."""

from __future__ import annotations

import json
import random
from base64 import b64encode
from collections import Counter
from collections.abc import Callable
from contextlib import closing

from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st
from redis import Redis

from taskd.brokers.redis.envelope import read
from tests import fuzzing, services
from tests.system.daemon import Daemon
from tests.system.fuzz_fates import HEAD, fate, is_settled
from tests.waiting import wait_until

ENVELOPES = 300


def envelope(**lies: object) -> dict[str, object]:
    """Return kombu's envelope of a good task, with some fields replaced."""
    return {
        "body": b64encode(b"[[], {}, {}]").decode(),
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": {"lang": "py", "task": "fuzz.any", "id": "good"},
        "properties": {"body_encoding": "base64", "delivery_info": {}, "priority": 0, "delivery_tag": "x"},
        **lies,
    }


def lying() -> list[bytes]:
    """Return one envelope for each lie in each of its fields."""
    fields = [name for name in envelope() if name != "properties"]
    inner = ("correlation_id", "reply_to", "delivery_info", "priority", "body_encoding", "delivery_tag")
    made = [envelope(**{name: lie}) for name in (*fields, "properties") for lie in fuzzing.LIES]
    made += [
        envelope(properties={"body_encoding": "base64", name: lie})
        for name in (*inner, "taskd", "taskd_once")
        for lie in fuzzing.LIES
    ]
    missing = [{name: value for name, value in envelope().items() if name != left} for left in envelope()]
    return [fuzzing.encoded(each, escaped=True) for each in [*made, *missing]]


def torn(number: int) -> list[bytes]:
    """Return what Hypothesis draws from the seed ``number``: bytes, JSON of any shape, and mad headers."""
    made: list[bytes] = []
    raw_headers = fuzzing.headers().map(
        lambda headers: json.dumps(envelope(headers="HERE")).encode().replace(b'"HERE"', headers)
    )
    bodies = fuzzing.bodies().map(lambda body: json.dumps(envelope(body=b64encode(body).decode())).encode())
    values = fuzzing.json_values.map(lambda value: fuzzing.encoded(value, escaped=False))

    @seed(number)
    @settings(max_examples=ENVELOPES, suppress_health_check=list(HealthCheck))
    @given(st.one_of(st.binary(max_size=200), values, raw_headers, bodies))
    def draw(raw: bytes) -> None:
        made.append(raw)

    draw()
    return made


def expected(raw: bytes) -> str:
    """Return what must become of what lies on the list."""
    return fate(read(raw, 1, b"default", "default", 0).delivery)


def test_garbage_on_the_lists_ends_with_reasons_and_leaves_the_worker_unharmed(
    make_daemon: Callable[..., Daemon],
) -> None:
    number = random.randrange(2**32)
    garbage = [b"", b"\0" * 100, b"{", b"[]", b"null", b'"text"', fuzzing.DEEP, b"\xff" * 5_000_000]
    messages = [*garbage, *lying(), *torn(number)]
    assert {expected(raw) for raw in garbage} == {"dead"}
    fates = Counter(map(expected, messages))
    url = services.redis_database()
    daemon = make_daemon(
        '[worker.main]\npool = "prefork"\nconcurrency = 2\n', head=HEAD.replace("sqlite://broker.db", url)
    )
    daemon.start()
    pid = daemon.pid_of("main-1")

    with closing(Redis.from_url(url)) as client:
        for raw in messages:
            client.lpush("default", raw)
    with closing(daemon.broker()) as broker:
        desk = broker.desk()
        wait_until(lambda: is_settled(desk), 40, f"settling, seed={number}")
        letters = desk.dead_letters(limit=10 * len(messages))
        (queue,) = desk.queues()

    assert all(letter.reason for letter in letters)
    assert fates["dead"] <= len(letters) <= fates["dead"] + fates["any"], f"seed={number} {fates}"
    assert fates["delayed"] <= queue.delayed <= fates["delayed"] + fates["any"], f"seed={number} {fates}"
    assert len(letters) > len(garbage), f"seed={number}: that was no fuzz"
    assert daemon.app.send_task("fuzz.length", ("good",)).get(timeout=60) == 4
    assert daemon.pid_of("main-1") == pid, f"seed={number}"
