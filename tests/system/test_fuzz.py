"""Hundreds of messages that nobody should send, at a real worker: each ends as it must, the worker stays."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import count

import pytest
from hypothesis import HealthCheck, given, seed, settings

from taskd.base.errors import SerializationError
from taskd.protocol.delivery import Outgoing
from tests import fuzzing
from tests.system.daemon import Daemon
from tests.system.fuzz_fates import HEAD, fate, is_settled
from tests.waiting import wait_until

#: One line for each pool that joins.
POOLS = ("prefork", "solo", "threads")
MESSAGES = 300


def fuzzed(number: int) -> list[Outgoing]:
    """Return messages drawn by Hypothesis from the seed ``number``; their task ids count them."""
    made: list[Outgoing] = []
    names = count()

    @seed(number)
    @settings(max_examples=MESSAGES, suppress_health_check=list(HealthCheck))
    @given(fuzzing.headers(), fuzzing.bodies(), fuzzing.content_types)
    def draw(headers: bytes, body: bytes, kind: tuple[str, str]) -> None:
        content_type, encoding = kind
        made.append(
            Outgoing(
                routing_key="default",
                headers=headers,
                body=body,
                task_id=f"fuzz-{next(names)}",
                content_type=content_type,
                content_encoding=encoding,
            )
        )

    draw()
    return made


def lies() -> list[Outgoing]:
    """Return one message for each lie in each header that somebody acts on."""
    return [
        Outgoing(
            routing_key="default",
            headers=fuzzing.encoded({"task": "fuzz.any", "id": "1", name: lie}, escaped=True),
            body=b"[[], {}, {}]",
            task_id=f"{name}-{number}",
        )
        for name in ("task", "id", "eta", "expires", "retries", "timelimit", "group")
        for number, lie in enumerate(fuzzing.LIES)
    ]


def send(daemon: Daemon, messages: Sequence[Outgoing]) -> None:
    with closing(daemon.broker()) as broker, closing(broker.publisher()) as publisher:
        publisher.publish(messages)


@pytest.mark.parametrize("pool", POOLS)
def test_fuzzed_messages_end_with_reasons_and_leave_the_worker_unharmed(
    pool: str, make_daemon: Callable[..., Daemon]
) -> None:
    number = random.randrange(2**32)
    messages = [*fuzzed(number), *lies()]
    fates = {message.task_id: fate(message) for message in messages}
    daemon = make_daemon(
        f'[worker.main]\npool = "{pool}"\nconcurrency = {1 if pool == "solo" else 2}\n', head=HEAD
    )
    daemon.start()
    pid = daemon.pid_of("main-1")

    send(daemon, messages)
    with closing(daemon.broker()) as broker:
        desk = broker.desk()
        wait_until(lambda: is_settled(desk), 20, f"settling, seed={number}")
        letters = desk.dead_letters(limit=10 * MESSAGES)
        (queue,) = desk.queues()

    assert all(letter.reason for letter in letters)
    dead = {letter.task_id for letter in letters}
    must = {task_id for task_id, fate_ in fates.items() if fate_ == "dead"}
    may = must | {task_id for task_id, fate_ in fates.items() if fate_ == "any"}
    assert must <= dead <= may, f"seed={number}: {must - dead} live, {dead - may} died"
    counted = Counter(fates.values())
    assert counted["delayed"] <= queue.delayed <= counted["delayed"] + counted["any"]
    assert len(dead) > MESSAGES / 10, f"seed={number}: that was no fuzz"
    assert daemon.app.send_task("fuzz.length", ("good",)).get(timeout=60) == 4
    assert daemon.pid_of("main-1") == pid, f"seed={number}"


def test_a_body_of_15_megabytes_is_run_or_dead_lettered_and_a_larger_one_is_not_sent(
    make_daemon: Callable[..., Daemon],
) -> None:
    daemon = make_daemon(head=HEAD)
    daemon.start()
    pid = daemon.pid_of("main-1")
    large = "x" * 15_000_000

    result = daemon.app.send_task("fuzz.length", (large,))
    headers = b'{"task": "fuzz.length", "id": "torn"}'
    send(daemon, [Outgoing(routing_key="default", headers=headers, body=b'[["' + large.encode())])

    assert result.get(timeout=60) == len(large)
    wait_until(daemon.dead_letters, 10)
    (letter,) = wait_until(daemon.dead_letters)
    assert "not the JSON that kombu writes" in str(letter["reason"])
    assert daemon.pid_of("main-1") == pid
    with pytest.raises(SerializationError, match="max_message_size"):
        daemon.app.send_task("fuzz.length", (2 * large,))
