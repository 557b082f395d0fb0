"""One execution of a task, for the tests of what it does."""

from __future__ import annotations

import json

from taskd import App
from taskd.execution.native.execute import Executor
from taskd.protocol.execution import Payload, Reply, decode_reply, encode
from taskd.protocol.results import decode_record
from taskd.sending.send import build_message


def payload_of(
    task, args=(), kwargs=None, *, changes=None, body=None, content_type=None, **options
) -> Payload:
    message = build_message(task.settings, args, kwargs or {}, **options)
    headers = {**json.loads(message.headers), **(changes or {})}
    return Payload(
        headers=json.dumps(headers).encode(),
        body=message.body if body is None else body,
        content_type=content_type or message.content_type,
        content_encoding=message.content_encoding,
        queue="mail",
        priority=4,
        deliveries=2,
        reply_to="answers",
        correlation_id=message.correlation_id,
        exchange="ex",
        routing_key="rk",
    )


def run(app: App, payload: Payload) -> Reply:
    return decode_reply(Executor(app, "w@h")(encode(payload)))


def error_of(reply: Reply) -> Exception:
    error = decode_record(reply.record).exception()
    assert error is not None
    return error


class Hostile(Exception):
    def __str__(self):
        raise RuntimeError("str")

    __repr__ = __str__

    def __reduce__(self):
        raise RuntimeError("reduce")
