"""What every broker promises to a worker that sleeps: it hears of each message, and of nothing else."""

from __future__ import annotations

import threading

from taskd.brokers.base import Broker
from taskd.config.kinds import BrokerCan
from tests.contract.brokers import (
    SILENCE_S,
    bodies,
    fall_asleep,
    is_readable,
    message,
    needs,
    send,
)


def test_a_message_that_comes_after_the_queue_was_emptied_wakes_again(broker: Broker) -> None:
    intake = broker.intake("w", ["mail"])
    fall_asleep(intake)
    for text in ("a", "b", "c"):
        send(broker, message(text))
        assert is_readable(intake)
        while is_readable(intake, 0.05):
            intake.clear_wakeups()
            intake.claim(10)


def test_an_added_queue_wakes_for_what_comes_later(broker: Broker) -> None:
    intake = broker.intake("w", ["a"])
    intake.add_queue("b")
    fall_asleep(intake)

    send(broker, message("x", "b"))

    assert is_readable(intake)


def test_a_message_for_another_queue_wakes_nobody(broker: Broker) -> None:
    needs(broker, BrokerCan.WAKES)
    intake = broker.intake("w", ["a"])
    fall_asleep(intake)

    send(broker, message("x", "b"))

    assert not is_readable(intake, SILENCE_S)


def test_a_publication_makes_the_descriptor_readable_until_cleared(broker: Broker) -> None:
    needs(broker, BrokerCan.WAKES)
    intake = broker.intake("w", ["mail"])
    fall_asleep(intake)
    assert not is_readable(intake, SILENCE_S)

    for _ in range(50):
        send(broker, message())

    assert is_readable(intake)
    intake.clear_wakeups()
    assert not is_readable(intake, SILENCE_S)


def test_threads_that_publish_at_the_same_time_lose_nothing(broker: Broker) -> None:
    needs(broker, BrokerCan.FIFO)
    publisher = broker.publisher()

    def publish(name: str) -> None:
        for number in range(50):
            publisher.publish([message(f"{name}{number}")])

    threads = [threading.Thread(target=publish, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    received = bodies(broker.intake("w", ["mail"]).claim(1000))
    assert len(received) == len(set(received)) == 200
    assert [body for body in received if body[0] == "a"] == [f"a{number}" for number in range(50)]
