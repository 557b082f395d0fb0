"""A broker that does not remember ids is used all the same, and nothing is claimed that is not known."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import pytest

from taskd.base.errors import TooLateError
from taskd.brokers.once import OncePublisher, PlainOnce
from taskd.protocol.delivery import Outgoing


class Recorder:
    def __init__(self) -> None:
        self.sent: list[str] = []

    def publish(self, messages: Sequence[Outgoing]) -> None:
        self.sent += [message.task_id for message in messages]

    def close(self) -> None:
        self.sent.append("closed")


def knows(once: OncePublisher, task_id: str) -> Collection[str] | None:
    return once.active([task_id])


def message(task_id: str) -> Outgoing:
    return Outgoing(routing_key="mail", headers=b"{}", body=b"", task_id=task_id)


def test_everything_is_sent_and_nothing_is_refused() -> None:
    recorder = Recorder()
    once = PlainOnce(recorder)

    assert once.publish_once([message("1")], until=math.inf) == ()
    assert once.publish_once([message("1")], until=math.inf) == ()

    assert recorder.sent == ["1", "1"]
    assert knows(once, "1") is None


def test_nothing_is_sent_when_it_is_too_late() -> None:
    recorder = Recorder()

    with pytest.raises(TooLateError):
        PlainOnce(recorder).publish_once([message("1")], until=0.0)

    assert recorder.sent == []
