"""The message of one task, Celery's protocol 2, of values that are decided.

Every sender has its messages from here: the calls of an app, the followers of a task that has ended, beat.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taskd.base import clock, ids
from taskd.base.errors import SerializationError
from taskd.protocol.compression import packed
from taskd.protocol.delivery import Outgoing
from taskd.protocol.message import OutgoingHeaders, encode_body, encode_headers
from taskd.protocol.message_repr import bounded_repr


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


NO_LINEAGE = Lineage()


def task_message(
    name: str,
    args: Sequence[object],
    kwargs: Mapping[str, object],
    *,
    task_id: str,
    queue: str,
    priority: int = 0,
    due_at: float | None = None,
    expires: str | None = None,
    time_limits: tuple[float | None, float | None] = (None, None),
    ignore_result: bool | None = None,
    embed: Mapping[str, object] | None = None,
    compression: str = "",
    extra: Mapping[str, object] | None = None,
    lineage: Lineage = NO_LINEAGE,
    reply_to: str = "",
) -> Outgoing:
    """Return the message.  ``extra``: headers beside those that every message has.

    ``expires`` is as headers have it, ``time_limits`` are the hard and the soft limit in seconds.
    Raises: ``SerializationError`` for arguments without JSON.
    """
    headers = OutgoingHeaders(
        task=name,
        id=task_id,
        shadow=lineage.shadow,
        eta=None if due_at is None else clock.iso(due_at),
        expires=expires,
        group=lineage.group,
        group_index=lineage.group_index,
        timelimit=time_limits,
        root_id=lineage.root_id or task_id,
        parent_id=lineage.parent_id,
        argsrepr=bounded_repr(args),
        kwargsrepr=bounded_repr(kwargs),
        origin=ids.origin(),
        ignore_result=ignore_result,
        stamped_headers=lineage.stamped_headers,
        stamps=lineage.stamps,
    )
    try:
        body = encode_body(args, kwargs, embed)
        if compression:
            body, kind = packed(body, compression)
            extra = {**(extra or {}), "compression": kind}
        return Outgoing(
            routing_key=queue,
            headers=encode_headers(headers, extra),
            body=body,
            task_id=task_id,
            priority=priority,
            due_at=due_at,
            reply_to=lineage.reply_to or reply_to,
            correlation_id=task_id,
        )
    except SerializationError as error:
        raise SerializationError(f'task "{name}" cannot be sent: {error}') from error
