"""The dispatcher over a loop: batches, silence for nobody, and a broker that is slow or away."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.base.loop import Loop
from taskd.events.dispatcher import BATCH, MAX_WAITING, Dispatcher
from taskd.protocol.delivery import Outgoing
from taskd.protocol.events import TaskStarted, WorkerElectAck
from taskd.protocol.lamport import LamportClock


class Sender:
    """Somebody listens, or nobody, or the broker is away."""

    def __init__(self) -> None:
        self.sent: list[Outgoing] = []
        self.audience = True
        self.broken = False
        self.closed = False

    def listened(self) -> bool:
        if self.broken:
            raise StorageError("away")
        return self.audience

    def send(self, events: Sequence[Outgoing]) -> None:
        if self.broken:
            raise StorageError("away")
        self.sent += events

    def close(self) -> None:
        self.closed = True

    def ids(self) -> list[str]:
        return [
            event["uuid"] for message in self.sent for event in json.loads(message.body) if "uuid" in event
        ]


@pytest.fixture
def sender() -> Sender:
    return Sender()


@pytest.fixture
def dispatcher(loop: Loop, sender: Sender) -> Dispatcher:
    made = Dispatcher(loop, "w@h", LamportClock(), tasks_enabled=True)
    made.connect(sender)
    return made


def add(dispatcher: Dispatcher, *ids: str) -> None:
    for each in ids:
        dispatcher.add(TaskStarted(uuid=each, **dispatcher.stamp(clock.now())))


def turn_until(loop: Loop, done: Callable[[], object]) -> None:
    deadline = clock.monotonic() + 10
    while not done():
        assert clock.monotonic() < deadline
        loop.run_once(0.1)


def test_task_events_go_together_in_one_message(loop: Loop, dispatcher: Dispatcher, sender: Sender) -> None:
    add(dispatcher, "a", "b", "c")
    assert sender.sent == []

    turn_until(loop, lambda: sender.sent)

    (message,) = sender.sent
    assert (message.exchange, message.routing_key) == ("celeryev", "task.multi")
    assert json.loads(message.headers) == {"hostname": "w@h"}
    assert [event["clock"] for event in json.loads(message.body)] == [1, 2, 3]


def test_a_full_batch_does_not_linger(loop: Loop, dispatcher: Dispatcher, sender: Sender) -> None:
    add(dispatcher, *map(str, range(BATCH)))

    loop.run_once(0.0)

    assert len(sender.ids()) == BATCH


def test_many_events_leave_in_messages_of_bounded_size(dispatcher: Dispatcher, sender: Sender) -> None:
    add(dispatcher, *map(str, range(2 * BATCH + 1)))

    dispatcher.flush()

    assert [len(json.loads(message.body)) for message in sender.sent] == [BATCH, BATCH, 1]


def test_a_worker_event_leaves_at_once_and_after_the_task_events_before_it(
    dispatcher: Dispatcher, sender: Sender
) -> None:
    add(dispatcher, "a")

    dispatcher.send(lambda: WorkerElectAck(id="e", **dispatcher.stamp(1.0)))

    assert [message.routing_key for message in sender.sent] == ["task.multi", "worker.elect.ack"]
    assert json.loads(sender.sent[1].body)["clock"] == 2


def test_nothing_is_made_or_sent_when_nobody_listens(dispatcher: Dispatcher, sender: Sender) -> None:
    sender.audience = False
    dispatcher.look()
    assert not dispatcher.on

    dispatcher.send(lambda: pytest.fail("an event was made for nobody"))

    sender.audience = True
    dispatcher.look()
    assert dispatcher.on


def test_what_was_added_before_the_last_listener_left_is_forgotten(
    dispatcher: Dispatcher, sender: Sender
) -> None:
    add(dispatcher, "a")
    sender.audience = False
    dispatcher.look()

    dispatcher.flush()
    sender.audience = True
    dispatcher.look()
    dispatcher.flush()

    assert sender.sent == []


def test_task_events_are_switched_while_it_runs(dispatcher: Dispatcher) -> None:
    assert not dispatcher.enable_tasks(enabled=True)
    assert dispatcher.enable_tasks(enabled=False)
    assert not dispatcher.on
    assert dispatcher.enable_tasks(enabled=True)
    assert dispatcher.on


def test_events_wait_for_a_broker_that_is_away(loop: Loop, dispatcher: Dispatcher, sender: Sender) -> None:
    sender.broken = True
    add(dispatcher, "a", "b")
    dispatcher.flush()
    assert dispatcher.on  # nobody has said that nobody listens

    sender.broken = False
    dispatcher.flush()

    assert sender.ids() == ["a", "b"]


def test_events_wait_for_the_next_connection(loop: Loop, dispatcher: Dispatcher, sender: Sender) -> None:
    sender.broken = True
    add(dispatcher, "a")
    dispatcher.disconnect()
    add(dispatcher, "b")
    assert sender.closed

    successor = Sender()
    dispatcher.connect(successor)
    turn_until(loop, lambda: successor.sent)

    assert successor.ids() == ["a", "b"]


def test_the_oldest_are_dropped_and_counted_under_pressure(dispatcher: Dispatcher, sender: Sender) -> None:
    sender.broken = True
    add(dispatcher, *map(str, range(MAX_WAITING + 7)))

    sender.broken = False
    dispatcher.flush()

    assert sender.ids() == [str(number) for number in range(7, MAX_WAITING + 7)]
    assert dispatcher.info()["dropped"] == 7


def test_a_slow_broker_is_asked_less_often(
    loop: Loop, dispatcher: Dispatcher, sender: Sender, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(clock, "monotonic", lambda: now[0])
    send = sender.send

    def slow(events: Sequence[Outgoing]) -> None:
        now[0] += 0.1
        send(events)

    sender.send = slow  # type: ignore[method-assign]
    add(dispatcher, "a")
    dispatcher.flush()
    sender.sent.clear()

    add(dispatcher, *map(str, range(BATCH)))
    now[0] += 0.9
    loop.run_once(0.0)
    assert sender.sent == []  # a tenth of the time, not more

    now[0] += 0.2
    loop.run_once(0.0)
    assert len(sender.ids()) == BATCH
