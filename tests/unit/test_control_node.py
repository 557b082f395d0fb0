"""A control node answers as kombu's does, and nothing that arrives can break it."""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Sequence
from typing import Any

import pytest

from taskd.control.node import Command, ControlNode
from taskd.protocol import pidbox
from taskd.protocol.delivery import Delivery, Outgoing
from taskd.protocol.lamport import LamportClock

NODE = "mail-1@host"


class Box:
    """A mailbox that holds what a test puts in, and a publisher that keeps what is sent."""

    def __init__(self) -> None:
        self.waiting: deque[Delivery] = deque()
        self.sent: list[Outgoing] = []

    def put(self, content_type: str = "application/json", clock: object = 7, **request: Any) -> None:
        self.put_bytes(json.dumps(request).encode(), content_type, clock)

    def put_bytes(self, body: bytes, content_type: str = "application/json", clock: object = 7) -> None:
        self.waiting.append(
            Delivery(
                tag=1,
                queue=f"{NODE}.celery.pidbox",
                task_id="",
                headers=json.dumps({"clock": clock, "expires": 0}).encode(),
                body=body,
                content_type=content_type,
                content_encoding="utf-8",
                priority=0,
                deliveries=1,
                deaths=0,
                reply_to="",
                correlation_id="",
                exchange="celery.pidbox",
                routing_key="",
            )
        )

    def receive(self) -> Sequence[Delivery]:
        arrived = list(self.waiting)
        self.waiting.clear()
        return arrived

    def fileno(self) -> int:
        return -1

    def publish(self, messages: Sequence[Outgoing]) -> None:
        self.sent += messages

    def close(self) -> None:
        pass


ASKED: dict[str, Any] = {
    "ticket": "t-1",
    "reply_to": {"exchange": "reply.celery.pidbox", "routing_key": "oid-1"},
}


def fails() -> object:
    raise ValueError("no such thing")


def make(**commands: Command) -> tuple[Box, ControlNode, list[dict[str, object]]]:
    box = Box()
    calls: list[dict[str, object]] = []

    def record(**arguments: object) -> object:
        calls.append(arguments)
        return {"ok": "pong"}

    table: dict[str, Command] = {"ping": record, "fail": fails, "odd": object, **commands}
    return box, ControlNode(box, box, NODE, table, LamportClock()), calls


def test_a_command_is_called_and_its_answer_sent_to_who_asked() -> None:
    box, node, calls = make()
    box.put(method="ping", arguments={"safe": True}, **ASKED)

    assert node.process() == 1

    assert calls == [{"safe": True}]
    (reply,) = box.sent
    assert (reply.exchange, reply.routing_key) == ("reply.celery.pidbox", "oid-1")
    assert json.loads(reply.body) == {NODE: {"ok": "pong"}}
    assert reply.content_type == "application/json"
    assert json.loads(reply.headers)["ticket"] == "t-1"
    assert json.loads(reply.headers)["clock"] > 7


def test_the_clock_only_goes_forward() -> None:
    box, node, _ = make()
    for clock in (7, 100, 3):
        box.put(clock=clock, method="ping", **ASKED)

    node.process()

    clocks = [json.loads(reply.headers)["clock"] for reply in box.sent]
    assert clocks == sorted(set(clocks))
    assert clocks[-1] > 100


def test_a_request_without_an_address_is_carried_out_in_silence() -> None:
    box, node, calls = make()
    box.put(method="ping", arguments=None)

    node.process()

    assert calls == [{}]
    assert box.sent == []


def test_a_request_for_others_is_passed_over() -> None:
    box, node, calls = make()
    box.put(method="ping", destination=["io-1@host"], **ASKED)
    box.put(method="ping", pattern="io*", matcher="glob", **ASKED)

    assert node.process() == 2

    assert calls == []
    assert box.sent == []


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"method": "fail"}, "ValueError('no such thing')"),
        ({"method": "missing"}, "KeyError('missing')"),
        ({"method": "ping", "arguments": {"1": 2}, "destination": [NODE]}, None),
        ({"method": "odd"}, "TypeError"),
        ({"method": "fail", "arguments": {"x": 1}}, "TypeError"),
    ],
)
def test_a_command_that_fails_answers_with_its_error(
    request_: dict[str, Any], error: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    box, node, _ = make()
    box.put(**request_, **ASKED)

    with caplog.at_level(logging.CRITICAL):
        node.process()

    (reply,) = box.sent
    answer = json.loads(reply.body)[NODE]
    assert answer == {"ok": "pong"} if error is None else error in answer["error"]


def test_garbage_is_logged_and_dropped_and_what_follows_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    box, node, _ = make()
    box.put_bytes(b"\x80\x04.", "application/x-python-serialize")
    box.put_bytes(b"{")
    box.put_bytes(b'{"method": "ping", "pattern": "(", "matcher": "pcre"}')
    box.put(clock=1e300, method="ping", **ASKED)
    box.put(method="ping", **ASKED)

    assert node.process() == 5

    assert len(box.sent) == 1
    assert len([record for record in caplog.records if "dropped" in record.message]) == 4


def test_a_message_on_which_the_node_itself_fails_costs_no_other_its_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box, node, _ = make()
    concerns = pidbox.ControlRequest.concerns
    failed: list[bool] = []

    def fails_once(self: pidbox.ControlRequest, node_name: str) -> bool:
        if not failed:
            failed.append(True)
            raise IndexError("nobody foresaw this")
        return concerns(self, node_name)

    monkeypatch.setattr(pidbox.ControlRequest, "concerns", fails_once)
    for _ in range(2):
        box.put(method="ping", **ASKED)

    assert node.process() == 2
    assert len(box.sent) == 1
