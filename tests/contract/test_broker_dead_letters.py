"""What every broker promises at the desk of an operator: counts, purges, dead letters with their evidence."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from taskd.base.errors import BrokerError
from taskd.brokers.base import Broker
from taskd.brokers.desk import DeadFilter
from taskd.brokers.kombu.broker import KombuBroker
from taskd.brokers.redis.broker import RedisBroker
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Ack, Dead, Outgoing, Requeue
from tests.contract.brokers import (
    Clock,
    as_object,
    fall_asleep,
    is_readable,
    message,
    needs,
    send,
)


def test_a_dead_letter_is_kept_with_its_evidence(broker: Broker, clock: Clock) -> None:
    send(broker, Outgoing(routing_key="mail", headers=b'{"id": "7"}', body=b"[]", task_id="7"))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    intake.settle([Dead(delivery.tag, "unknown task", b'{"task": "t"}')])

    desk = broker.desk()
    (letter,) = desk.dead_letters()
    assert (letter.queue, letter.task_id, letter.reason) == ("mail", "7", "unknown task")
    assert (letter.died_at, letter.deaths, letter.task) == (clock.now_at, 0, "")
    dead = desk.dead_letter(letter.id)
    assert dead is not None
    assert dead.letter == letter
    assert (dead.evidence, dead.body) == (b'{"task": "t"}', b"[]")
    assert as_object(dead.headers) == as_object(b'{"id": "7"}')
    assert (dead.content_type, dead.content_encoding) == ("application/json", "utf-8")
    assert desk.dead_letter(letter.id + 1) is None
    assert list(intake.claim(1)) == []


def bury(broker: Broker, clock: Clock, *messages: Outgoing) -> list[int]:
    """Make a dead letter of each message, a second apart; return their ids."""
    send(broker, *messages)
    intake = broker.intake("w", ["a", "b"])
    # Between queues the order is the broker's own.
    claimed = sorted(intake.claim(len(messages)), key=lambda delivery: delivery.body)
    for delivery in claimed:
        clock.advance(1.0)
        intake.settle([Dead(delivery.tag, f"bad {delivery.body.decode()}")])
    return [delivery.tag for delivery in claimed]


def named(text: str, queue: str, task: str) -> Outgoing:
    headers = msgspec.json.encode({"lang": "py", "task": task})
    return msgspec.structs.replace(message(text, queue), headers=headers)


def test_dead_letters_are_listed_newest_first_by_task_queue_time_and_id(broker: Broker, clock: Clock) -> None:
    began_at = clock.now_at
    one, two, three = bury(broker, clock, named("1", "a", "t"), named("2", "b", "t"), named("3", "a", "u"))
    desk = broker.desk()

    def found(limit: int = 100, **which: Any) -> list[str]:
        letters = desk.dead_letters(DeadFilter(**which), limit)
        assert [letter.id for letter in letters] == list(desk.dead_ids(DeadFilter(**which)))[::-1][:limit]
        return [letter.reason for letter in letters]

    assert found() == ["bad 3", "bad 2", "bad 1"]
    assert found(limit=1) == ["bad 3"]
    assert found(queue="a") == ["bad 3", "bad 1"]
    assert found(task="t") == ["bad 2", "bad 1"]
    assert found(task="t", queue="a") == ["bad 1"]
    assert found(since_at=began_at + 2.0) == ["bad 3", "bad 2"]
    assert found(ids=[three, one, 424242]) == ["bad 3", "bad 1"]
    assert found(ids=[two], queue="a") == []
    assert found(ids=[]) == []
    assert [letter.task for letter in desk.dead_letters()] == ["u", "t", "t"]


@pytest.mark.parametrize(
    ("headers", "task"),
    [
        (b"", ""),
        (b"\xff\x00", ""),
        (b'"task"', ""),
        (b'{"task": 7}', ""),
        (b'{"task": "\xff"}', ""),
        (b'{"task": "\\ud800"}', "\\ud800"),
        (b'{"task": "t", "user": NaN}', "t"),
        (b'{"task": "\\u0000\x1b"}', ""),
        (b'{"task": "t", "deep": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    ],
)
def test_a_message_with_any_headers_can_be_buried_and_listed(
    broker: Broker, headers: bytes, task: str
) -> None:
    try:
        send(broker, msgspec.structs.replace(message(), headers=headers))
    except BrokerError:
        assert isinstance(broker, (RedisBroker, KombuBroker)), (
            "its envelope is JSON, and refuses what is none"
        )
        return
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert list(intake.settle([Dead(delivery.tag, "cannot be read: \ud800")])) == []

    (letter,) = broker.desk().dead_letters()
    assert (letter.task, letter.reason) == (task, "cannot be read: \\ud800")
    dead = broker.desk().dead_letter(letter.id)
    assert dead is not None
    assert as_object(dead.headers) == as_object(headers)


def test_a_requeued_dead_letter_starts_anew(broker: Broker) -> None:
    send(broker, message(priority=3))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)
    intake.settle([Requeue(delivery.tag, died=True)])
    (delivery,) = intake.claim(1)
    intake.settle([Dead(delivery.tag, "bad")])
    fall_asleep(intake)
    desk = broker.desk()

    assert desk.requeue_dead(desk.dead_ids()) == 1
    assert desk.requeue_dead([delivery.tag]) == 0

    assert is_readable(intake)
    (again,) = intake.claim(1)
    assert (again.deliveries, again.deaths, again.priority) == (1, 0, 3)
    assert list(desk.dead_letters()) == []


def test_dead_letters_are_purged_by_id(broker: Broker) -> None:
    send(broker, *[message() for _ in range(3)])
    intake = broker.intake("w", ["mail"])
    claimed = intake.claim(3)
    intake.settle([Dead(delivery.tag, "bad") for delivery in claimed])
    desk = broker.desk()

    assert desk.purge_dead([claimed[0].tag, 424242]) == 1
    assert len(desk.dead_letters()) == 2
    assert desk.purge_dead(desk.dead_ids()) == 2
    assert list(desk.dead_letters()) == []
    assert desk.dead_letter(claimed[1].tag) is None


def test_the_desk_counts_each_condition(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.COUNTS)
    send(broker, *[message() for _ in range(4)], message(due_at=clock.now_at + 9.0), message("y", "other"))
    intake = broker.intake("w", ["mail"])
    first = intake.claim(2)[0]
    intake.settle([Dead(first.tag, "bad")])

    mail, other = broker.desk().queues()

    assert (mail.name, mail.ready, mail.delayed, mail.claimed, mail.dead) == ("mail", 2, 1, 1, 1)
    assert (other.name, other.ready) == ("other", 1)


def test_a_purge_spares_the_claimed(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.COUNTS)
    send(broker, message("claimed"), message("ready"), message("delayed", due_at=clock.now_at + 1.0))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)

    assert broker.desk().purge("mail") == 2
    assert broker.desk().purge("no such queue") == 0

    assert list(intake.settle([Ack(delivery.tag)])) == []
    clock.advance(2.0)
    assert list(intake.claim(1)) == []
