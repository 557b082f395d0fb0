"""What a broker that keeps messages of failed tasks promises: one step, bounds, and another chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec
import pytest

from taskd.brokers.base import Broker, Intake, Keeping
from taskd.brokers.desk import DeadFilter, DeadLetter
from taskd.brokers.memory.broker import MemoryBroker
from taskd.brokers.redis.broker import RedisBroker
from taskd.brokers.sqlite.broker import SqliteBroker
from taskd.config.kinds import BrokerCan
from taskd.config.stores import FailuresConfig, RedisConfig, SqliteConfig
from taskd.protocol.delivery import Dead, Delivery, LetterKind, Outgoing, UnclaimedFailure
from tests import services
from tests.contract.brokers import Clock, bodies, fall_asleep, is_readable, message, needs, send

FAILED = DeadFilter(kind=LetterKind.FAILED)
ALL = DeadFilter(kind=None)

Open = Callable[[FailuresConfig], Broker]


@pytest.fixture(params=["memory", "redis", "sqlite"])
def bounded(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Open]:
    """Open a broker of each kind with these bounds."""
    opened: list[Broker] = []

    def make(bounds: FailuresConfig) -> Broker:
        timing = clock.timing
        match request.param:
            case "memory":
                broker: Broker = MemoryBroker(f"memory://{tmp_path}", timing, bounds)
            case "redis":
                config = RedisConfig(key_prefix=f"{tmp_path}:")
                broker = RedisBroker(services.redis_url(), config, timing, bounds)
            case _:
                broker = SqliteBroker(f"sqlite://{tmp_path}/broker.db", SqliteConfig(), timing, bounds)
        opened.append(broker)
        return broker

    yield make
    for broker in opened:
        broker.close()


def retried(text: str, retries: int, queue: str = "mail") -> Outgoing:
    headers = {"lang": "py", "task": "t", "id": text, "retries": retries, "shadow": None}
    return msgspec.structs.replace(
        message(text, queue, priority=3), headers=msgspec.json.encode(headers), task_id=text
    )


def failed(delivery: Delivery, reason: str = "ValueError: no") -> Dead:
    return Dead(delivery.tag, reason, b'{"traceback": "x"}', kind=LetterKind.FAILED)


def fail(broker: Broker, clock: Clock, *texts: str, intake: Intake | None = None) -> Intake:
    """Let a task fail for each text, a second apart."""
    intake = intake or broker.intake("w", ["mail"])
    for text in texts:
        send(broker, retried(text, 0))
        (delivery,) = intake.claim(1)
        clock.advance(1.0)
        assert list(intake.settle([failed(delivery)])) == []
    return intake


def keep(intake: Intake, *deliveries: Delivery) -> None:
    assert isinstance(intake, Keeping)
    intake.keep([UnclaimedFailure(each, "ValueError: late", b'{"pid": 7}') for each in deliveries])


def reasons(letters: Sequence[DeadLetter]) -> list[tuple[str, str]]:
    return [(letter.task_id, letter.reason) for letter in letters]


def ids_of(broker: Broker) -> list[str]:
    return [letter.task_id for letter in broker.desk().dead_letters(FAILED)][::-1]


def test_a_failed_letter_is_kept_beside_the_dead_ones(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.KEEP_FAILURES)
    send(broker, retried("dead", 0), retried("failed", 2))
    intake = broker.intake("w", ["mail"])
    deliveries = {each.task_id: each for each in intake.claim(2)}

    refused = intake.settle([failed(deliveries["failed"]), Dead(deliveries["dead"].tag, "unknown")])

    assert list(refused) == []
    desk = broker.desk()
    assert reasons(desk.dead_letters()) == [("dead", "unknown")]
    (letter,) = desk.dead_letters(FAILED)
    assert letter.kind is LetterKind.FAILED
    assert (letter.task, letter.task_id, letter.queue, letter.died_at) == (
        "t",
        "failed",
        "mail",
        clock.now_at,
    )
    assert {each.task_id for each in desk.dead_letters(ALL)} == {"dead", "failed"}
    assert len(desk.dead_ids(ALL)) == 2
    assert list(desk.dead_ids(FAILED)) == [letter.id]
    whole = desk.dead_letter(letter.id)
    assert whole is not None
    assert (whole.letter, whole.body, whole.evidence) == (letter, b"failed", b'{"traceback": "x"}')
    (queue,) = desk.queues()
    assert (queue.ready, queue.claimed, queue.dead, queue.failed) == (0, 0, 1, 1)


def test_the_letter_of_a_claim_that_another_has_is_refused(broker: Broker) -> None:
    needs(broker, BrokerCan.KEEP_FAILURES)
    send(broker, retried("x", 0))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)
    successor = broker.intake("w", ["mail"])

    assert list(intake.settle([failed(delivery)])) == [delivery.tag]

    assert list(broker.desk().dead_letters(ALL)) == []
    assert bodies(successor.claim(1)) == ["x"]


def test_a_failed_letter_is_sent_again_as_if_never_tried(broker: Broker) -> None:
    needs(broker, BrokerCan.KEEP_FAILURES)
    send(broker, retried("x", 3))
    intake = broker.intake("w", ["mail"])
    (delivery,) = intake.claim(1)
    intake.settle([failed(delivery)])
    fall_asleep(intake)
    desk = broker.desk()
    (number,) = desk.dead_ids(FAILED)

    assert desk.requeue_dead([number, number, 424242]) == 1
    assert desk.requeue_dead([number]) == 0

    assert is_readable(intake)
    (again,) = intake.claim(5)
    assert (again.deliveries, again.deaths, again.priority, again.body) == (1, 0, 3, b"x")
    expected = {"lang": "py", "task": "t", "id": "x", "retries": 0, "shadow": None}
    assert json.loads(again.headers) == expected
    assert list(desk.dead_letters(ALL)) == []
    (queue,) = desk.queues()
    assert (queue.claimed, queue.dead, queue.failed) == (1, 0, 0)


def test_the_letter_of_a_message_without_a_claim_is_kept_and_sent_again(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.KEEP_FAILURES)
    send(broker, retried("early", 1), retried("other", 0))
    intake = broker.intake("w", ["mail"])
    early, other = intake.claim(2)
    clock.advance(1.0)

    keep(intake, early, other)

    desk = broker.desk()
    letters = desk.dead_letters(FAILED)
    assert reasons(letters[::-1]) == [("early", "ValueError: late"), ("other", "ValueError: late")]
    # Its claim is another message, which nobody has settled: ids are never used twice.
    assert not {each.id for each in letters} & {early.tag, other.tag}
    intake.settle([failed(early), failed(other)])
    assert desk.purge_dead([early.tag, other.tag]) == 2
    assert desk.requeue_dead([letters[-1].id]) == 1
    (again,) = intake.claim(5)
    assert (again.task_id, again.priority, again.deliveries) == ("early", 3, 1)
    assert json.loads(again.headers)["retries"] == 0
    assert desk.queues()[0].failed == 1


def test_failed_letters_are_purged_by_id(broker: Broker, clock: Clock) -> None:
    needs(broker, BrokerCan.KEEP_FAILURES)
    intake = fail(broker, clock, "1", "2", "3")
    desk = broker.desk()

    assert desk.purge_dead([*desk.dead_ids(FAILED)[:2], 424242]) == 2

    assert ids_of(broker) == ["3"]
    assert list(intake.claim(5)) == []
    assert desk.queues()[0].failed == 1


def test_the_oldest_go_when_there_are_too_many(bounded: Open, clock: Clock) -> None:
    broker = bounded(FailuresConfig(max=2))

    intake = fail(broker, clock, "1", "2", "3", "4")
    assert ids_of(broker) == ["3", "4"]

    keep(intake, *(msgspec.structs.replace(each, tag=0) for each in _claimed(broker, intake, "5")))
    assert ids_of(broker) == ["4", "5"]
    assert broker.desk().queues()[0].failed == 2


def _claimed(broker: Broker, intake: Intake, text: str) -> Sequence[Delivery]:
    send(broker, retried(text, 0))
    return intake.claim(1)


def test_the_oldest_go_when_they_are_too_large(bounded: Open, clock: Clock) -> None:
    broker = bounded(FailuresConfig(max_bytes=40_000))
    big = "b" * 15_000

    intake = fail(broker, clock, "first", f"{big}1")
    assert len(ids_of(broker)) == 2
    fail(broker, clock, f"{big}2", intake=intake)

    assert ids_of(broker) == [f"{big}2"]


def test_letters_go_with_the_renewal_when_their_time_is_over(bounded: Open, clock: Clock) -> None:
    broker = bounded(FailuresConfig(keep=10.0))
    intake = fail(broker, clock, *map(str, range(5)))
    clock.advance(7.5)
    intake.renew()
    assert ids_of(broker) == ["2", "3", "4"]

    clock.advance(10.0)
    intake.renew()

    assert ids_of(broker) == []
    assert broker.desk().queues()[0].failed == 0
    assert fail(broker, clock, "new", intake=intake) is intake
    assert ids_of(broker) == ["new"]


def test_renewals_make_a_store_smaller_whose_bounds_were_lowered(bounded: Open, clock: Clock) -> None:
    fail(bounded(FailuresConfig()), clock, *map(str, range(20))).close()
    broker = bounded(FailuresConfig(max=3))
    intake = broker.intake("w", ["mail"])

    intake.renew()

    assert ids_of(broker) == ["17", "18", "19"]


def test_dead_letters_have_no_bounds(bounded: Open, clock: Clock) -> None:
    broker = bounded(FailuresConfig(keep=1.0, max=1, max_bytes=1))
    send(broker, retried("1", 0), retried("2", 0))
    intake = broker.intake("w", ["mail"])
    intake.settle([Dead(each.tag, "unknown") for each in intake.claim(2)])
    clock.advance(100.0)
    intake.renew()
    fail(broker, clock, "3", intake=intake)

    assert len(broker.desk().dead_letters()) == 2
