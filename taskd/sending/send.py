"""Build the message of a task call, Celery's protocol 2 with where to and when, and send it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, cast

from taskd.base import clock, ids
from taskd.base.errors import ProtocolError, SerializationError
from taskd.protocol.compression import packed
from taskd.protocol.delivery import Outgoing
from taskd.protocol.message import (
    RESERVED_HEADERS,
    OutgoingHeaders,
    encode_body,
    encode_headers,
)
from taskd.protocol.message_repr import bounded_repr
from taskd.sending import request
from taskd.sending.checks import check_options
from taskd.sending.connections import Connections
from taskd.sending.due import due_in, expires_at, moment
from taskd.sending.forms import PRIORITY
from taskd.sending.options import SEND, Link, SendOptions, TaskSettings
from taskd.sending.result import AsyncResult
from taskd.sending.signature import read_signatures
from taskd.sending.whereabouts import Sent

if TYPE_CHECKING:
    from typing_extensions import Unpack


@dataclass(frozen=True, slots=True)
class Lineage:
    """Parts of a message that come from the task before it, or from the signature that it is made of."""

    root_id: str | None = None
    parent_id: str | None = None
    group: str | None = None
    group_index: int | None = None
    #: The signatures that follow, the next one last.
    chain: Sequence[Mapping[str, object]] | None = None
    #: The body of the chord for which it counts.
    chord: object = None
    reply_to: str = ""
    shadow: str | None = None
    stamped_headers: list[str] | None = None
    stamps: Mapping[str, object] = field(default_factory=dict)

    def write_into(self, headers: OutgoingHeaders) -> None:
        """Set what only a signature says."""
        headers.shadow = self.shadow
        headers.group = self.group
        headers.group_index = self.group_index
        headers.stamped_headers = self.stamped_headers
        headers.stamps = self.stamps


def build_message(
    settings: TaskSettings,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    lineage: Lineage | None = None,
    reply_to: str = "",
    **options: Unpack[SendOptions],
) -> Outgoing:
    """Return the message of one call.

    ``lineage``: where it belongs; None: below the task that runs here.  ``reply_to``: a queue for its result.
    Raises: ``SerializationError`` for arguments without JSON, ``ValueError`` and ``TypeError``.
    """
    name = settings.name
    task_id = options.get("task_id") or ids.new_task_id()
    _check_arguments(name, args, kwargs)
    what = f'task "{name}"'
    due_at, lineage = _due_at(name, options.get("countdown"), options.get("eta")), lineage or _lineage_here()
    expires = options.get("expires")
    ignored = options.get("ignore_result")
    priority = options.get("priority")
    wire = OutgoingHeaders(
        task=name,
        id=task_id,
        eta=None if due_at is None else clock.iso(due_at),
        expires=expires_at((settings.expires or None) if expires is None else expires, name),
        timelimit=(options.get("time_limit"), options.get("soft_time_limit")),
        root_id=lineage.root_id or task_id,
        parent_id=lineage.parent_id,
        argsrepr=bounded_repr(args),
        kwargsrepr=bounded_repr(kwargs),
        origin=ids.origin(),
        ignore_result=(settings.ignore_result or None) if ignored is None else ignored,
    )
    lineage.write_into(wire)
    try:
        embed = _embed(name, options.get("link"), options.get("link_error"), lineage)
        body, packing = _body(args, kwargs, embed, options.get("compression"), settings)
        return Outgoing(
            routing_key=options.get("queue") or settings.queue,
            headers=encode_headers(wire, _extra_headers(name, options, packing)),
            body=body,
            task_id=task_id,
            priority=settings.priority if priority is None else PRIORITY.taken(f"{what}: priority", priority),
            due_at=due_at,
            reply_to=lineage.reply_to or reply_to,
            correlation_id=task_id,
        )
    except SerializationError as error:
        raise SerializationError(f"{what} cannot be sent: {error}") from error


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


def _check_arguments(name: str, args: object, kwargs: object) -> None:
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, Mapping):
        raise TypeError(
            f'task "{name}" cannot be sent with args {bounded_repr(args)} and kwargs {bounded_repr(kwargs)}; '
            "expected a list or tuple, and a dict"
        )


def _body(
    args: Sequence[object],
    kwargs: Mapping[str, object],
    embed: dict[str, object] | None,
    compression: str | None,
    settings: TaskSettings,
) -> tuple[bytes, str | None]:
    """Return the body, and how the header names its compression."""
    body = encode_body(args, kwargs, embed)
    if compression is None:
        compression = settings.compression
    return packed(body, compression) if compression else (body, None)


#: The headers that carry an option as it is.
_CARRYING = tuple((name, option.header) for name, option in SEND.items() if option.header)


def _extra_headers(name: str, options: SendOptions, packing: str | None) -> dict[str, object] | None:
    """Return the user's headers, and the protocol's that are not in every message; None for none."""
    if not options and packing is None:
        return None
    extra = dict(options.get("headers") or {})
    taken = RESERVED_HEADERS.intersection(extra)
    if taken:
        raise ValueError(
            f'task "{name}": header {", ".join(sorted(taken))} belongs to the protocol; choose another name'
        )
    if packing is not None:
        extra["compression"] = packing
    for option, header in _CARRYING:
        value = options.get(option)
        if value is not None:
            extra[header] = value
    return extra


_NO_LINEAGE = Lineage()


def _lineage_here() -> Lineage:
    running = request.current.get()
    return _NO_LINEAGE if running is None else Lineage(running.root_id, running.id)


def _embed(
    name: str,
    link: Link | Sequence[Link] | None,
    link_error: Link | Sequence[Link] | None,
    lineage: Lineage,
) -> dict[str, object] | None:
    if not (link or link_error or lineage.chain or lineage.chord):
        return None
    return {
        "callbacks": signatures(name, link),
        "errbacks": signatures(name, link_error),
        "chain": list(lineage.chain) if lineage.chain else None,
        "chord": lineage.chord or None,
    }


def signatures(name: str, links: Link | Sequence[Link] | None) -> list[dict[str, object]] | None:
    """Return links as signatures, None for none.

    Raises: ``ValueError`` for one that no worker of taskd would accept.
    """
    if not links:
        return None
    given = cast("Sequence[Link]", links if isinstance(links, (list, tuple)) else [links])
    found = [dict(link) if isinstance(link, Mapping) else link.signature() for link in given]
    try:
        read_signatures(found, f'task "{name}": link')
    except ProtocolError as error:
        raise ValueError(str(error)) from error
    return found


def _due_at(name: str, countdown: float | timedelta | None, eta: datetime | None) -> float | None:
    if eta is None:
        return None if countdown is None else due_in(countdown, f'task "{name}": countdown')
    if countdown is not None:
        raise ValueError(f'task "{name}": give either countdown or eta, not both')
    return moment(eta, f'task "{name}": eta')
