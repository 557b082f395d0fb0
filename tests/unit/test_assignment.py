"""What goes from the worker to the executor: the delivery, with the headers as the worker has read them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from taskd import App
from taskd.base.errors import ProtocolError
from taskd.execution.native import execute as executing
from taskd.execution.native.execute import Executor
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import End, decode_assignment, decode_reply, encode_assignment
from taskd.protocol.message import decode_headers
from tests import fuzzing
from tests.unit.executing import assignment_of

BODY = b'[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]'


def delivery_with(headers: bytes) -> Delivery:
    return Delivery(7, "mail", "i", headers, BODY, priority=4, deliveries=2, properties=b'{"app_id": "x"}')


def test_the_delivery_arrives_as_it_is() -> None:
    delivery = delivery_with(b'{"task": "t", "id": "i", "x-own": 1}')

    assert decode_assignment(encode_assignment(delivery)).delivery == delivery


def test_headers_are_read_once_and_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    app = App()
    delivery = assignment_of(app.task(name="t")(lambda: None)).delivery
    payload = encode_assignment(delivery, decode_headers(delivery.headers))

    def not_again(_data: bytes) -> Any:
        raise AssertionError("the headers are read a second time")

    monkeypatch.setattr(executing, "decode_headers", not_again)

    assert decode_reply(Executor(app, "w@h")(payload)).end is End.SUCCEEDED


@pytest.mark.parametrize(
    "own",
    [
        b'"eta": "0001-01-01T00:00:00+14:00"',
        b'"expires": "2199-01-01T00:00:00+02:00"',
        b'"stamped_headers": ["a"], "stamps": {"a": 123456789012345678901234567890}',
        b'"argsrepr": "\\ud800"',
    ],
)
def test_headers_that_msgpack_would_change_are_read_where_the_task_runs(own: bytes) -> None:
    delivery = delivery_with(b'{"task": "t", "id": "i", ' + own + b"}")

    assignment = decode_assignment(encode_assignment(delivery, decode_headers(delivery.headers)))

    assert assignment.headers is None
    assert assignment.delivery == delivery


@settings(max_examples=fuzzing.times(200))
@given(fuzzing.headers())
def test_whatever_the_headers_say_they_arrive_as_the_worker_has_read_them(headers: bytes) -> None:
    try:
        read = decode_headers(headers)
    except ProtocolError:
        return

    assignment = decode_assignment(encode_assignment(delivery_with(headers), read))

    assert repr(assignment.headers or decode_headers(assignment.delivery.headers)) == repr(read)
