"""One execution of a task, for the tests of what it does."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from taskd import App
from taskd.app.bound import BoundTask
from taskd.execution.native.execute import Executor
from taskd.protocol.delivery import Delivery, Outgoing
from taskd.protocol.execution import Assignment, Reply, decode_reply, encode
from taskd.protocol.results import decode_record
from taskd.sending.calls import build_message


def assignment_of(
    task: BoundTask,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    changes: Mapping[str, object] | None = None,
    body: bytes | None = None,
    content_type: str | None = None,
    **options: Any,
) -> Assignment:
    """Return what a worker hands to a pool for a message of this task; ``changes`` are to its headers."""
    message = build_message(task.settings, args, kwargs or {}, **options)
    headers = {**json.loads(message.headers), **(changes or {})}
    return Assignment(
        Delivery(
            1,
            "mail",
            message.task_id,
            json.dumps(headers).encode(),
            message.body if body is None else body,
            content_type=content_type or message.content_type,
            priority=4,
            deliveries=2,
            reply_to="answers",
            correlation_id=message.correlation_id,
            exchange="ex",
            routing_key="rk",
        )
    )


def run(app: App, assignment: Assignment) -> Reply:
    """Run it as a child of a pool does."""
    return decode_reply(Executor(app, "w@h")(encode(assignment)))


def error_of(reply: Reply) -> Exception:
    """Return the exception that the record of a reply tells."""
    error = decode_record(reply.record).exception()
    assert error is not None
    return error


def retry_of(reply: Reply) -> Outgoing:
    """Return the message that takes the place of the one that ran."""
    assert reply.retry is not None
    return reply.retry


def due_at(reply: Reply) -> float:
    """Return when the retry is due."""
    found = retry_of(reply).due_at
    assert found is not None
    return found


class Hostile(Exception):
    """Tells nothing about itself."""

    def __str__(self) -> NoReturn:
        raise RuntimeError("str")

    __repr__ = __str__

    def __reduce__(self) -> NoReturn:
        raise RuntimeError("reduce")
