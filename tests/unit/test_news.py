"""What clients and tasks tell monitors, and that it costs and breaks nothing when nobody listens."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from taskd import App
from taskd.app.bound import BoundTask
from taskd.base.errors import BrokerError
from taskd.execution.native.execute import Executor
from taskd.protocol import execution
from taskd.protocol.delivery import Outgoing
from taskd.sending.news import SenderNews
from tests.unit.executing import assignment_of


class Sender:
    def __init__(self) -> None:
        self.heard = True
        self.broken = False
        self.sent: list[Outgoing] = []

    def connect(self) -> Sender:
        return self

    def listened(self) -> bool:
        if self.broken:
            raise BrokerError("away")
        return self.heard

    def send(self, events: Sequence[Outgoing]) -> None:
        self.sent += events

    def close(self) -> None:
        pass


def test_an_event_of_a_task_has_the_fields_of_all_events() -> None:
    sender = Sender()

    SenderNews(lambda: sender).tell("task-progress", "w@h", "id", {"done": 3})

    (event,) = sender.sent
    body = json.loads(event.body)
    assert event.routing_key == "task.progress"
    assert {name: body[name] for name in ("type", "hostname", "uuid", "done", "clock")} == {
        "type": "task-progress",
        "hostname": "w@h",
        "uuid": "id",
        "done": 3,
        "clock": 1,
    }


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("task-succeeded", {}), ("worker-online", {}), ("progress", {}), ("task-progress", {"uuid": "other"})],
)
def test_nobody_may_speak_for_the_worker(kind: str, fields: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="event"):
        SenderNews(Sender).tell(kind, "w@h", "id", fields)


def test_nothing_is_sent_to_nobody_and_trouble_is_nobodys_error(caplog: pytest.LogCaptureFixture) -> None:
    deaf, away = Sender(), Sender()
    deaf.heard, away.broken = False, True

    for sender in (deaf, away):
        SenderNews(sender.connect).tell("task-progress", "w@h", "id", {})

    assert deaf.sent == away.sent == []
    assert "events are not sent: away" in caplog.text


def test_a_client_that_is_not_told_to_opens_no_sender() -> None:
    app = App(broker="memory://news")
    app.send_task("t")

    assert "news" not in app.connections._open
    app.close()


def test_a_task_that_is_muted_or_called_directly_tells_nothing() -> None:
    app = App(broker="memory://news-2")
    broker_box = app.connections._broker().event_box("listener")

    @app.task(name="loud", bind=True)
    def loud(self: BoundTask) -> None:
        self.send_event("task-progress")

    @app.task(name="mute", bind=True, send_events=False)
    def mute(self: BoundTask) -> None:
        self.send_event("task-progress")

    loud()
    executor = Executor(app, "w@h")
    for task in (mute, loud):
        executor.execute(execution.decode_assignment(execution.encode(assignment_of(task))))

    assert len(broker_box.receive()) == 1
    app.close()
