"""Send calls, one by one or many in a trip: what is sent, and the result that it will have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from taskd.protocol.delivery import Outgoing
from taskd.sending import request
from taskd.sending.calls import Call, build_message
from taskd.sending.checks import check_options
from taskd.sending.connections import Connections
from taskd.sending.options import SendOptions, TaskSettings
from taskd.sending.result import AsyncResult
from taskd.sending.whereabouts import Sent

R = TypeVar("R")

#: Messages in one trip of a bulk send.
TRIP = 256


def send(
    connections: Connections,
    settings: TaskSettings,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    options: SendOptions,
) -> AsyncResult[object]:
    """Send one call.  Blocks for one write to the broker.  Raises: as ``Task.apply_async``."""
    if options:
        check_options(settings.name, options)
    ignored = options.get("ignore_result")
    if ignored is None:
        ignored = settings.ignore_result
    reply_to = connections.reply_to(ignored=ignored)
    message = build_message(settings, args, kwargs, reply_to=reply_to, **options)
    publish(connections, (message,))
    sent = Sent(message.routing_key, message.due_at)
    return AsyncResult(message.task_id, connections, ignored=ignored, sent=sent)


def publish(connections: Connections, messages: Sequence[Outgoing]) -> None:
    """Write the messages of calls in one trip; they are children of the task that runs here, if one does.

    Raises: as ``Task.apply_async``.
    """
    connections.publisher().publish(messages)
    if connections.tells_of_sends:
        connections.news().sent(messages)
    request.note_children([message.task_id for message in messages])


def send_many(connections: Connections, calls: Iterable[Call[R]]) -> list[AsyncResult[R]]:
    """Send calls, ``TRIP`` of them in each write; each write is all or none.

    When it raises, the writes before the failed one stand.  Raises: as ``send``; ``TypeError`` for something
    that is not a call.
    """
    results: list[AsyncResult[R]] = []
    waiting = iter(calls)
    while trip := list(islice(waiting, TRIP)):
        if strange := [each for each in trip if not isinstance(each, Call)]:
            raise TypeError(f"send_many takes calls, such as task.call(...), not {strange[0]!r}")
        messages = [
            build_message(
                call.settings,
                call.args,
                call.kwargs,
                reply_to=connections.reply_to(ignored=call.ignores_result),
                **(call.options or {}),
            )
            for call in trip
        ]
        publish(connections, messages)
        results += [
            AsyncResult(
                message.task_id,
                connections,
                ignored=call.ignores_result,
                sent=Sent(message.routing_key, message.due_at),
            )
            for call, message in zip(trip, messages, strict=True)
        ]
    return results
