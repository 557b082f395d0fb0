"""What a running task knows of the message that started it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from typing import cast

from taskd import running
from taskd.protocol.execution import Payload
from taskd.protocol.message import RESERVED_HEADERS, TaskHeaders, headers_as_mapping

#: The request of the task that runs in this thread or coroutine.  The executor sets it.
current = cast("ContextVar[Request | None]", running.current)


class Request:
    """One execution of one task.  Attributes have the names of Celery's ``task.request``."""

    __slots__ = (
        "args",
        "called_directly",
        "hostname",
        "id",
        "keeps_result",
        "kwargs",
        "message",
        "payload",
        "task",
    )

    #: taskd has no eager mode; for code that asks.
    is_eager = False

    def __init__(
        self,
        message: TaskHeaders,
        payload: Payload,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        hostname: str,
        *,
        keeps_result: bool = True,
        called_directly: bool = False,
    ) -> None:
        self.id = message.id
        self.task = message.task
        self.args = args
        self.kwargs = kwargs
        self.hostname = hostname
        self.message = message
        self.payload = payload
        #: Off with ``ignore_result``: then no state is stored either.
        self.keeps_result = keeps_result
        self.called_directly = called_directly

    @property
    def retries(self) -> int:
        """How often it has been retried; 0 in the first run."""
        return self.message.retries

    @property
    def deliveries(self) -> int:
        """How often the broker has handed this message out; above 1 something died on it."""
        return self.payload.deliveries

    @property
    def eta(self) -> datetime | None:
        """The time before which it was not to run."""
        return self.message.eta

    @property
    def expires(self) -> datetime | None:
        """The time after which it would not have run."""
        return self.message.expires

    @property
    def root_id(self) -> str:
        """The id of the task that began this tree of tasks; its own when it began it."""
        return self.message.root_id or self.id

    @property
    def parent_id(self) -> str | None:
        """The id of the task that sent it, if one did."""
        return self.message.parent_id

    @property
    def group(self) -> str | None:
        """The id of its group, if it is in one."""
        return self.message.group

    @property
    def reply_to(self) -> str:
        """The queue for replies that the sender named."""
        return self.payload.reply_to

    @property
    def correlation_id(self) -> str:
        """The sender's mark for replies; the task id by custom."""
        return self.payload.correlation_id or self.id

    @property
    def delivery_info(self) -> dict[str, object]:
        """Where it came from, under Celery's keys, with the queue beside them."""
        payload = self.payload
        return {
            "exchange": payload.exchange,
            "routing_key": payload.routing_key,
            "priority": payload.priority,
            "redelivered": payload.deliveries > 1,
            "queue": payload.queue,
        }

    @property
    def headers(self) -> dict[str, object]:
        """The sender's own headers.  Decoded at each call."""
        everything = headers_as_mapping(self.payload.headers) if self.payload.headers else {}
        return {name: value for name, value in everything.items() if name not in RESERVED_HEADERS}


def direct_request(task_name: str) -> Request:
    """Return the request of a task function that is called like any function, without a message."""
    payload = Payload(b"", b"", "", "", "", 0, 1, "", "", "", "")
    return Request(
        TaskHeaders(task=task_name, id=""), payload, (), {}, "", keeps_result=False, called_directly=True
    )
