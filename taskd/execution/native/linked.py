"""Followers of a task, for the reply.

After a success these are its callbacks and the next step of its chain; after a failure its errbacks, and
the rest of the chain as given up.

The messages are built where the task ran, because its result is at hand there; the worker's parent
sends them together with the acknowledgement.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from taskd.app.bound import BoundTask
from taskd.execution.native.errbacks import called_here
from taskd.protocol.chord import ChordPart
from taskd.protocol.delivery import Outgoing
from taskd.protocol.execution import End, Reply
from taskd.sending.callbacks import UNSENDABLE, begun_by, messages_of
from taskd.sending.options import TaskSettings
from taskd.sending.request import Request
from taskd.sending.signature import Embed, Promised, Signature

logger = logging.getLogger(__name__)


class Linked(msgspec.Struct, gc=False):
    """The signatures that one message carries beside its task."""

    embed: Embed
    #: Tasks that end with this one if it is not a success.
    ends: Promised
    #: The part of a chord that the task is; None for none.
    part: ChordPart | None


def after_success(
    linked: Linked, value: object, request: Request, tasks: Mapping[str, BoundTask]
) -> list[Outgoing]:
    """Return the messages that follow.

    Raises: one of ``UNSENDABLE``; then the task is a failure, as in Celery: what was to come of its
    success does not.
    """
    return _messages([*linked.embed.callbacks, *linked.embed.step], value, request, tasks)


def with_failure(
    reply: Reply, linked: Linked, request: Request, tasks: Mapping[str, BoundTask], error: BaseException
) -> Reply:
    """Return the reply with what follows an end that is not a success.

    Errbacks that take the request, the exception and its traceback are called here, as in Celery.
    """
    if reply.end not in (End.FAILED, End.REJECTED):
        return reply
    reply = msgspec.structs.replace(reply, given_up=linked.ends.ids, parts=linked.ends.parts)
    if reply.end is End.REJECTED:
        return reply  # the parent sends the errbacks, together with the dead letter
    called = called_here(linked.embed.errbacks, tasks)
    errbacks = [each for each in linked.embed.errbacks if each not in called]
    try:
        messages = _messages(errbacks, request.id, request, tasks)
    except UNSENDABLE as wrong:
        logger.error("task=%s id=%s errbacks not sent: %s", request.task, request.id, wrong)
        messages = []
        errbacks = []
    for errback in called:
        try:
            task = tasks[errback.task]
            task.run(request, error, reply.traceback or None, *errback.args, **errback.kwargs)
        except BaseException:  # the user's function
            logger.exception("task=%s id=%s errback %s failed", request.task, request.id, errback.task)
    return msgspec.structs.replace(reply, callbacks=messages, begins=begun_by(errbacks))


def with_success(reply: Reply, linked: Linked, follows: Sequence[Outgoing]) -> Reply:
    """Return the reply with what follows a success, as ``after_success`` has made it."""
    parts = [] if linked.part is None else [linked.part]
    begins = begun_by([*linked.embed.callbacks, *linked.embed.step])
    return msgspec.structs.replace(reply, callbacks=follows, parts=parts, begins=begins)


def _messages(
    signatures: Sequence[Signature], first: object, request: Request, tasks: Mapping[str, BoundTask]
) -> list[Outgoing]:
    def settings_of(name: str) -> TaskSettings:
        known = tasks.get(name)
        return TaskSettings(name) if known is None else known.settings

    return messages_of(signatures, first, request.message, settings_of, queue=request.delivery.queue)
