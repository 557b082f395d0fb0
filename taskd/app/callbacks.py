"""``link`` and ``link_error``: from what a sender gives to signatures, and from those to messages.

As in Celery: a callback gets the task's result as its first argument, an errback the task's id; one that
is immutable gets neither.  Celery calls errbacks of three parameters in the worker's process; here
every errback is a task of its own, which asks ``app.result(id)`` for the exception.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone

import msgspec

from taskd.app.send import build_message
from taskd.app.settings import TaskSettings
from taskd.brokers.intake import Outgoing
from taskd.errors import ProtocolError, SerializationError
from taskd.protocol.message import RESERVED_HEADERS, TaskHeaders, carries_nothing, decode_body
from taskd.protocol.signature import Signature, read_embed

logger = logging.getLogger(__name__)

#: What a signature may raise on its way to a message.  Its content is the sender's: no worker may end by it.
UNSENDABLE = (SerializationError, ValueError, TypeError, OverflowError, OSError, RecursionError)


def messages_of(
    signatures: Sequence[Signature],
    first: object,
    ended: TaskHeaders,
    settings_of: Callable[[str], TaskSettings] = TaskSettings,
) -> list[Outgoing]:
    """Return the messages of callbacks or errbacks of a task that has ended.

    ``first`` is their first argument.  Without ``settings_of`` the sender knows no options of the tasks.

    Raises: one of ``UNSENDABLE`` when JSON cannot represent ``first``, or for options that cannot be meant.
    """
    parent = (ended.root_id or ended.id, ended.id)
    return [
        _message(
            signature,
            signature.args if signature.immutable else [first, *signature.args],
            parent,
            settings_of(signature.task),
        )
        for signature in signatures
    ]


def message_of(signature: Signature) -> Outgoing:
    """Return the message of a signature by itself.  Raises: as ``messages_of``."""
    return _message(signature, signature.args, None, TaskSettings(signature.task))


def _message(
    signature: Signature, args: Sequence[object], parent: tuple[str, str] | None, settings: TaskSettings
) -> Outgoing:
    options = signature.options
    own = {name: value for name, value in (options.headers or {}).items() if name not in RESERVED_HEADERS}
    message = build_message(
        settings,
        args,
        signature.kwargs,
        countdown=options.countdown,
        eta=_aware(options.eta),
        expires=_aware(options.expires) if isinstance(options.expires, datetime) else options.expires,
        queue=options.queue or (None if options.exchange else options.routing_key),
        priority=options.priority,
        task_id=options.task_id,
        headers=own or None,
        max_retries=options.max_retries,
        retry_delay=options.retry_delay,
        ignore_result=options.ignore_result,
        soft_time_limit=options.soft_time_limit,
        time_limit=options.time_limit,
        link=options.link,
        link_error=options.link_error,
        parent=parent,
    )
    for text in (message.routing_key, message.task_id, options.exchange or ""):
        text.encode()  # a lone surrogate is a ValueError here, not an error of the broker later
    if options.exchange and not options.queue:
        return msgspec.structs.replace(
            message, exchange=options.exchange, routing_key=options.routing_key or ""
        )
    return message


def _aware(moment: datetime | None) -> datetime | None:
    # Without an offset it is UTC, as in Celery with enable_utc.
    if moment is None or moment.tzinfo is not None:
        return moment
    return moment.replace(tzinfo=timezone.utc)


def errbacks_of_message(
    headers: TaskHeaders, body: bytes, content_type: str, content_encoding: str
) -> list[Outgoing]:
    """Return the errbacks of a task that the worker, not the task, has made a failure.

    None for a body that cannot be read: such a message goes to the dead-letter queue whole.
    """
    if carries_nothing(body):
        return []
    try:
        embed: Mapping[str, object] = decode_body(body, content_type, content_encoding)[2]
        return messages_of(read_embed(embed)[1], headers.id, headers)
    except (ProtocolError, *UNSENDABLE) as error:
        logger.error("task=%s id=%s errbacks not sent: %s", headers.task, headers.id, error)
        return []
