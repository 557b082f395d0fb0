"""What every broker that sends once promises to beat."""

from __future__ import annotations

import math

import pytest

from taskd.base.errors import TooLateError
from taskd.brokers.base import Broker, Intake
from taskd.brokers.once import OncePublisher, PlainOnce, once_publisher
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Ack, Dead, Delay, Outgoing, Replace
from tests.contract.brokers import Clock, bodies, message, needs

DAY_S = 86_400.0


@pytest.fixture
def once(broker: Broker) -> OncePublisher:
    needs(broker, BrokerCan.ONCE)
    made = once_publisher(broker)
    assert not isinstance(made, PlainOnce)
    return made


@pytest.fixture
def intake(broker: Broker) -> Intake:
    return broker.intake("w", ["mail"])


def run(task_id: str, text: str = "x") -> Outgoing:
    return message(text, task_id=task_id)


def test_a_second_message_with_the_same_id_is_refused(once: OncePublisher, intake: Intake) -> None:
    assert set(once.publish_once([run("1", "first")], until=math.inf)) == set()

    assert set(once.publish_once([run("1", "second"), run("2", "other")], until=math.inf)) == {"1"}

    assert bodies(intake.claim(10)) == ["first", "other"]


def test_a_queue_that_nobody_serves_is_listed(broker: Broker, once: OncePublisher) -> None:
    once.publish_once([run("1")], until=math.inf)

    assert [(each.name, each.ready) for each in broker.desk().queues()] == [("mail", 1)]


def test_it_is_refused_to_another_sender_too(broker: Broker, once: OncePublisher, intake: Intake) -> None:
    once.publish_once([run("1")], until=math.inf)

    assert set(once_publisher(broker).publish_once([run("1")], until=math.inf)) == {"1"}

    assert len(intake.claim(10)) == 1


def test_it_is_refused_after_the_first_is_done(once: OncePublisher, intake: Intake) -> None:
    once.publish_once([run("1")], until=math.inf)
    intake.settle([Ack(each.tag) for each in intake.claim(10)])

    assert set(once.publish_once([run("1")], until=math.inf)) == {"1"}

    assert intake.depth() == 0


def test_twice_in_one_trip_is_once(once: OncePublisher, intake: Intake) -> None:
    once.publish_once([run("1"), run("1")], until=math.inf)

    assert len(intake.claim(10)) == 1


def test_nothing_is_sent_when_it_is_too_late(once: OncePublisher, intake: Intake, clock: Clock) -> None:
    until = clock.monotonic_s + 5.0
    clock.advance(5.0)

    with pytest.raises(TooLateError):
        once.publish_once([run("1")], until=until)

    assert intake.depth() == 0
    assert set(once.publish_once([run("1")], until=math.inf)) == set()


def test_a_plain_send_of_the_same_id_is_not_its_business(
    broker: Broker, once: OncePublisher, intake: Intake
) -> None:
    once.publish_once([run("1")], until=math.inf)

    broker.publisher().publish([run("1")])

    assert len(intake.claim(10)) == 2


def test_a_run_is_active_from_its_sending_to_its_end(once: OncePublisher, intake: Intake) -> None:
    once.publish_once([run("1"), run("2")], until=math.inf)
    assert once.active(["1", "2", "3"]) == {"1", "2"}
    first, second = intake.claim(10)
    assert once.active(["1", "2"]) == {"1", "2"}

    intake.settle([Ack(first.tag)])
    assert once.active(["1", "2"]) == {"2"}

    intake.settle([Dead(second.tag, "broken")])
    assert once.active(["1", "2"]) == frozenset()


def test_a_run_is_active_while_it_is_delayed_or_its_retry_waits(
    once: OncePublisher, intake: Intake, clock: Clock
) -> None:
    once.publish_once([run("1"), run("2")], until=math.inf)
    first, second = intake.claim(10)
    later = clock.now_at + 60.0

    intake.settle([Delay(first.tag, later), Replace(second.tag, message("again", task_id="2", due_at=later))])

    assert once.active(["1", "2"]) == {"1", "2"}


def test_ids_are_forgotten_when_they_are_old_and_over(
    once: OncePublisher, intake: Intake, clock: Clock
) -> None:
    once.publish_once([run("done"), run("waits")], until=math.inf)
    (done,) = intake.claim(1)
    intake.settle([Ack(done.tag)])
    clock.advance(DAY_S)
    once.publish_once([run("new")], until=math.inf)
    intake.settle([Ack(each.tag) for each in intake.claim(10) if each.task_id == "new"])

    once.forget(DAY_S / 2)

    again = [run("done"), run("waits"), run("new")]
    assert set(once.publish_once(again, until=math.inf)) == {"waits", "new"}
    assert once.active(["waits"]) == {"waits"}


def test_a_closed_publisher_may_be_closed_again_and_others_go_on(
    broker: Broker, once: OncePublisher, intake: Intake
) -> None:
    once.close()
    once.close()

    assert set(once_publisher(broker).publish_once([run("1")], until=math.inf)) == set()
    assert bodies(intake.claim(1)) == ["x"]
