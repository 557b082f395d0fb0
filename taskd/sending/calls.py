"""Calls of tasks that are not sent yet, and the message that each becomes: options are read here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from taskd.base import ids
from taskd.base.errors import ProtocolError
from taskd.protocol.delivery import Outgoing
from taskd.protocol.message import RESERVED_HEADERS
from taskd.protocol.message_repr import bounded_repr
from taskd.sending import request
from taskd.sending.checks import check_options
from taskd.sending.due import due_in, expires_at, moment
from taskd.sending.forms import PRIORITY
from taskd.sending.message import NO_LINEAGE, Lineage, task_message
from taskd.sending.options import SEND, Link, SendOptions, TaskSettings
from taskd.sending.signature import read_signatures

if TYPE_CHECKING:
    from typing_extensions import Unpack

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """A task with its arguments, to be sent."""

    settings: TaskSettings
    args: Sequence[object]
    kwargs: Mapping[str, object]
    options: SendOptions | None = None
    immutable: bool = False

    def with_options(self, **options: Unpack[SendOptions]) -> Call[R]:
        """Return the same call with these options added."""
        check_options(self.settings.name, options)
        merged = cast("SendOptions", {**(self.options or {}), **options})
        return replace(self, options=merged)

    def signature(self) -> dict[str, object]:
        """Return the call as Celery writes it, for another task's ``link``."""
        settings = self.settings
        options: dict[str, object] = {"queue": settings.queue}
        if settings.priority:
            options["priority"] = settings.priority
        options.update(self.options or {})
        for name in ("link", "link_error"):
            if name in options:
                options[name] = signatures(settings.name, cast("Sequence[Link]", options[name]))
        return {
            "task": settings.name,
            "args": list(self.args),
            "kwargs": dict(self.kwargs),
            "options": options,
            "subtask_type": None,
            "immutable": self.immutable,
        }

    @property
    def ignores_result(self) -> bool:
        """Whether nobody can wait for it."""
        ignored = self.options.get("ignore_result") if self.options else None
        return self.settings.ignore_result if ignored is None else ignored


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
    _check_arguments(name, args, kwargs)
    if lineage is None:
        lineage = _lineage_here()
    expires = options.get("expires")
    ignored = options.get("ignore_result")
    priority = options.get("priority")
    compression = options.get("compression")
    return task_message(
        name,
        args,
        kwargs,
        task_id=options.get("task_id") or ids.new_task_id(),
        queue=options.get("queue") or settings.queue,
        priority=settings.priority
        if priority is None
        else PRIORITY.taken(f'task "{name}": priority', priority),
        due_at=_due_at(name, options.get("countdown"), options.get("eta")),
        expires=expires_at((settings.expires or None) if expires is None else expires, name),
        time_limits=(options.get("time_limit"), options.get("soft_time_limit")),
        ignore_result=(settings.ignore_result or None) if ignored is None else ignored,
        embed=_embed(name, options.get("link"), options.get("link_error"), lineage),
        compression=settings.compression if compression is None else compression,
        extra=_extra_headers(name, options) if options else None,
        lineage=lineage,
        reply_to=reply_to,
    )


def _check_arguments(name: str, args: object, kwargs: object) -> None:
    # dict first: to ask an abstract class takes three times as long.
    if not isinstance(args, (list, tuple)) or not isinstance(kwargs, (dict, Mapping)):
        raise TypeError(
            f'task "{name}" cannot be sent with args {bounded_repr(args)} and kwargs {bounded_repr(kwargs)}; '
            "expected a list or tuple, and a dict"
        )


#: The headers that carry an option as it is.
_CARRYING = tuple((name, option.header) for name, option in SEND.items() if option.header)


def _extra_headers(name: str, options: SendOptions) -> dict[str, object]:
    """Return the user's headers, and those of the protocol that only some messages have."""
    extra = dict(options.get("headers") or {})
    taken = RESERVED_HEADERS.intersection(extra)
    if taken:
        raise ValueError(
            f'task "{name}": header {", ".join(sorted(taken))} belongs to the protocol; choose another name'
        )
    for option, header in _CARRYING:
        value = options.get(option)
        if value is not None:
            extra[header] = value
    return extra


def _lineage_here() -> Lineage:
    running = request.current.get()
    return NO_LINEAGE if running is None else Lineage(running.root_id, running.id)


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
