"""Followers of a task (``link``, ``link_error``, a chain): from senders' options to signatures, to messages.

As in Celery: a callback gets the task's result as its first argument, an errback the task's id; one that
is immutable gets neither.  Errbacks of three parameters are called where the task failed, and are not sent
(``taskd.execution.native.linked``); the others ask ``app.result(id)`` for the exception.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import msgspec

from taskd.base.errors import ProtocolError, SerializationError
from taskd.config.programs import DEFAULT_QUEUE
from taskd.protocol import serializers
from taskd.protocol.chord import Begun, ChordPart, part_of
from taskd.protocol.delivery import Outgoing
from taskd.protocol.message import (
    RESERVED_HEADERS,
    TaskHeaders,
    carries_nothing,
    decode_body,
    headers_as_mapping,
)
from taskd.sending.calls import build_message
from taskd.sending.message import Lineage
from taskd.sending.options import TaskSettings
from taskd.sending.signature import Promised, Signature, carried, promised, read_signatures

logger = logging.getLogger(__name__)

#: Errors of a signature on its way to a message.  Its content is the sender's: no worker may end by it.
UNSENDABLE = (SerializationError, ValueError, TypeError, OverflowError, OSError, RecursionError)


def messages_of(
    signatures: Sequence[Signature],
    first: object,
    ended: TaskHeaders,
    settings_of: Callable[[str], TaskSettings] = TaskSettings,
    *,
    queue: str = DEFAULT_QUEUE,
) -> list[Outgoing]:
    """Return the messages of callbacks or errbacks of a task that has ended.

    ``first`` is their first argument.  Without ``settings_of`` the sender knows no options of the tasks.
    ``queue``, from which the ended task came, is for those that neither the signature nor the task sends
    elsewhere.  Celery's signatures name no queue, and the workers that serve the one task serve the other.

    Raises: one of ``UNSENDABLE`` when JSON cannot represent ``first``, or for options that cannot be meant.
    """
    root_id = ended.root_id or ended.id
    return [
        _message(
            signature,
            signature.args if signature.immutable else [first, *signature.args],
            _lineage(signature, root_id, ended.id),
            settings_of(signature.task),
            queue,
        )
        for signature in signatures
    ]


def errback_messages(
    signatures: Sequence[Signature], task_id: str, ended: TaskHeaders, *, queue: str
) -> list[Outgoing]:
    """Return the messages of errbacks, marked so that one that wants the exception gets it where it runs.

    Raises: as above.
    """
    found = messages_of(signatures, task_id, ended, queue=queue)
    return [
        message
        if signature.immutable
        else msgspec.structs.replace(
            message,
            headers=serializers.dumps({**headers_as_mapping(message.headers), "taskd_errback": True}),
        )
        for signature, message in zip(signatures, found, strict=True)
    ]


def messages_without_outcome(
    signatures: Sequence[Signature],
    ended: TaskHeaders,
    settings_of: Callable[[str], TaskSettings],
    *,
    queue: str,
) -> list[Outgoing]:
    """Return the messages of what takes the place of a task, whose parent is theirs.  Raises: as above."""
    root_id = ended.root_id or ended.id
    return [
        _message(
            signature,
            signature.args,
            _lineage(signature, root_id, ended.parent_id),
            settings_of(signature.task),
            queue,
        )
        for signature in signatures
    ]


def message_of(signature: Signature) -> Outgoing:
    """Return the message of a signature by itself.  Raises: as ``messages_of``."""
    return _message(signature, signature.args, _lineage(signature), TaskSettings(signature.task))


def _lineage(signature: Signature, root_id: str | None = None, parent_id: str | None = None) -> Lineage:
    options = signature.options
    return Lineage(
        root_id,
        parent_id,
        group=options.group_id,
        group_index=options.group_index,
        chain=options.chain,
        chord=options.chord,
        reply_to=options.reply_to or "",
        shadow=options.shadow,
        stamped_headers=options.stamped_headers,
        stamps=signature.stamps,
    )


def _message(
    signature: Signature,
    args: Sequence[object],
    lineage: Lineage,
    settings: TaskSettings,
    queue: str = DEFAULT_QUEUE,
) -> Outgoing:
    """``queue``: for what neither the signature nor the task sends elsewhere."""
    said = signature.options
    options = carried(said)
    for name in ("eta", "expires"):
        if isinstance(options.get(name), datetime):
            options[name] = _aware(options[name])
    if "headers" in options:
        own = options["headers"]
        options["headers"] = {name: own[name] for name in own if name not in RESERVED_HEADERS}
    named = options.pop("queue", "")
    elsewhere = queue if settings.queue == DEFAULT_QUEUE else settings.queue
    options["queue"] = named or (not said.exchange and said.routing_key) or elsewhere
    message = build_message(settings, args, signature.kwargs, lineage=lineage, **options)
    for text in (message.routing_key, message.task_id, said.exchange or ""):
        text.encode()  # a lone surrogate is a ValueError here, not an error of the broker later
    if said.exchange and not named:
        return msgspec.structs.replace(message, exchange=said.exchange, routing_key=said.routing_key or "")
    return message


def _aware(moment: datetime) -> datetime:
    # Without an offset it is UTC, as in Celery with enable_utc.
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class Aftermath:
    """The consequences of a failure: messages to send, and ids of tasks that will never run."""

    errbacks: Sequence[Outgoing] = ()
    given_up: Sequence[str] = ()
    #: The parts of chords that end with it.
    parts: Sequence[ChordPart] = ()
    #: Chords that an errback begins.
    begins: Sequence[Begun] = ()


def after_failure(
    headers: TaskHeaders, body: bytes, content_type: str, queue: str = DEFAULT_QUEUE
) -> Aftermath:
    """Return what follows a task that the worker, not the task, has made a failure.

    Nothing for a body that cannot be read, or not without running code (pickle): such a message goes to
    the dead-letter queue whole.
    """
    if carries_nothing(body):
        return Aftermath()
    try:
        embed: Mapping[str, object] = decode_body(body, content_type, headers.compression)[2]
    except ProtocolError as error:
        logger.error("task=%s id=%s errbacks not sent: %s", headers.task, headers.id, error)
        return Aftermath()
    try:
        ends = ends_of(headers, embed)
    except SerializationError as error:
        logger.error("task=%s id=%s has not ended for its chord: %s", headers.task, headers.id, error)
        return Aftermath()
    try:
        errbacks = read_signatures(embed.get("errbacks"), "errbacks")
        messages = errback_messages(errbacks, headers.id, headers, queue=queue)
    except (ProtocolError, *UNSENDABLE) as error:
        logger.error("task=%s id=%s errbacks not sent: %s", headers.task, headers.id, error)
        return Aftermath((), ends.ids, ends.parts)
    return Aftermath(messages, ends.ids, ends.parts, begun_by(errbacks))


def begun_by(signatures: Sequence[Signature]) -> list[Begun]:
    """Return the chords that must be known before these are sent."""
    return [begun for signature in signatures for begun in signature.begins]


def ends_of(headers: TaskHeaders, embed: Mapping[str, object]) -> Promised:
    """Return what ends together with a task that is not a success, its own part of a chord at first.

    Raises: ``SerializationError`` for a chord that JSON cannot represent.
    """
    ends = promised(embed.get("chain"))
    own = own_part(headers, embed)
    return ends if own is None else Promised(ends.ids, [own, *ends.parts])


def own_part(headers: TaskHeaders, embed: Mapping[str, object]) -> ChordPart | None:
    """Return the part of a chord that a task is itself.  Raises: as ``ends_of``."""
    return part_of(headers.id, headers.group, headers.group_index, embed.get("chord"))
