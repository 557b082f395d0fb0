"""Calls of tasks that are not sent yet, one by one or many in a trip."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from taskd.sending.checks import check_options
from taskd.sending.connections import Connections
from taskd.sending.options import Link, SendOptions, TaskSettings
from taskd.sending.result import AsyncResult
from taskd.sending.send import build_message, publish, signatures
from taskd.sending.whereabouts import Sent

if TYPE_CHECKING:
    from typing_extensions import Unpack

R = TypeVar("R")

#: Messages in one trip of a bulk send.
TRIP = 256


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
