"""What follows a task: its callbacks after a success, its errbacks after a failure, for the reply.

The messages are built where the task ran, because its result is at hand there; the worker's parent
sends them together with the acknowledgement.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from taskd.app.callbacks import UNSENDABLE, messages_of
from taskd.app.settings import TaskSettings
from taskd.app.task import BoundTask
from taskd.brokers.intake import Outgoing
from taskd.protocol.execution import End, NextMessage, Reply
from taskd.protocol.message import TaskHeaders
from taskd.protocol.signature import Signature
from taskd.worker import replies

logger = logging.getLogger(__name__)


class Linked(msgspec.Struct, gc=False):
    """What one message carries beside its task."""

    callbacks: Sequence[Signature]
    errbacks: Sequence[Signature]


def with_linked(
    reply: Reply,
    linked: Linked,
    value: object,
    headers: TaskHeaders,
    tasks: Mapping[str, BoundTask],
    *,
    keep: bool,
) -> Reply:
    """Return the reply with the messages that follow it.

    A callback that cannot be sent makes the task a failure, as in Celery: what was to come of its
    success does not.
    """

    def settings_of(name: str) -> TaskSettings:
        known = tasks.get(name)
        return TaskSettings(name) if known is None else known.settings

    if reply.end is End.SUCCEEDED:
        try:
            messages = messages_of(linked.callbacks, value, headers, settings_of)
        except UNSENDABLE as error:
            reply = replies.failed(headers, error, keep=keep)
    if reply.end is End.FAILED:
        try:
            messages = messages_of(linked.errbacks, headers.id, headers, settings_of)
        except UNSENDABLE as error:
            logger.error("task=%s id=%s errbacks not sent: %s", headers.task, headers.id, error)
            return reply
    elif reply.end is not End.SUCCEEDED:
        return reply
    return msgspec.structs.replace(reply, callbacks=[_next(message) for message in messages])


def _next(message: Outgoing) -> NextMessage:
    return NextMessage(
        headers=message.headers,
        body=message.body,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        exchange=message.exchange,
        routing_key=message.routing_key,
        priority=message.priority,
        due_at=message.due_at,
        task_id=message.task_id,
        reply_to=message.reply_to,
        correlation_id=message.correlation_id,
    )
