"""The facts that a running task knows of the message that started it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from datetime import datetime
from itertools import islice
from typing import cast

from taskd.base import running
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import RESERVED_HEADERS, TaskHeaders, headers_as_mapping

#: The request of the task that runs in this thread or coroutine.  The executor sets it.
current = cast("ContextVar[Request | None]", running.current)


#: Children that a result names; a task that sends a million would else have a record of megabytes.
MOST_CHILDREN = 1000


class Request:
    """One execution of one task.  Attributes have the names of Celery's ``task.request``."""

    __slots__ = (
        "args",
        "called_directly",
        "children",
        "delivery",
        "embed",
        "hostname",
        "id",
        "keeps_result",
        "kwargs",
        "message",
        "retry_beside",
        "task",
    )

    #: taskd has no eager mode; for code that asks.
    is_eager = False
    #: Times are in UTC.
    utc = True

    def __init__(
        self,
        message: TaskHeaders,
        delivery: Delivery,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        hostname: str,
        *,
        embed: Mapping[str, object] | None = None,
        keeps_result: bool = True,
        called_directly: bool = False,
    ) -> None:
        self.id = message.id
        self.task = message.task
        self.args = args
        self.kwargs = kwargs
        self.hostname = hostname
        self.message = message
        self.delivery = delivery
        #: Signatures that the message carries beside the task: callbacks, errbacks, chain.
        self.embed = embed or {}
        #: Ids of the tasks that this one has sent, up to ``MOST_CHILDREN``; its result names them.
        self.children: list[str] = []
        #: Off with ``ignore_result``: then no state is stored either.
        self.keeps_result = keeps_result
        self.called_directly = called_directly
        #: A retry that was asked for with ``throw=False``: the run ends by itself, and another follows.
        self.retry_beside: BaseException | None = None

    @property
    def retries(self) -> int:
        """How often it has been retried; 0 in the first run."""
        return self.message.retries

    @property
    def deliveries(self) -> int:
        """How often the broker has handed this message out; above 1 something died on it."""
        return self.delivery.deliveries

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
    def group_index(self) -> int | None:
        """Its place in its group."""
        return self.message.group_index

    @property
    def shadow(self) -> str | None:
        """The name under which the sender wants it shown."""
        return self.message.shadow

    @property
    def origin(self) -> str | None:
        """The sender, as ``gen<pid>@<host>``."""
        return self.message.origin

    @property
    def timelimit(self) -> tuple[float | None, float | None]:
        """The limits that the message itself sets: the hard one, then the soft one."""
        return self.message.timelimit or (None, None)

    @property
    def time_limit(self) -> float | None:
        """The hard limit that the message itself sets."""
        return self.timelimit[0]

    @property
    def soft_time_limit(self) -> float | None:
        """The soft limit that the message itself sets."""
        return self.timelimit[1]

    @property
    def ignore_result(self) -> bool:
        """Whether no result is kept."""
        return not self.keeps_result

    @property
    def argsrepr(self) -> str | None:
        """The positional arguments as the sender shows them."""
        return self.message.argsrepr

    @property
    def kwargsrepr(self) -> str | None:
        """The keyword arguments as the sender shows them."""
        return self.message.kwargsrepr

    @property
    def stamped_headers(self) -> list[str] | None:
        """The names of the stamps."""
        return self.message.stamped_headers

    @property
    def stamps(self) -> Mapping[str, object]:
        """The stamps by name."""
        return self.message.stamps or {}

    @property
    def replaced_task_nesting(self) -> int:
        """How often Celery's ``replace`` stands behind it."""
        return self.message.replaced_task_nesting

    @property
    def callbacks(self) -> object:
        """The signatures that follow its success, as the sender wrote them."""
        return self.embed.get("callbacks")

    @property
    def errbacks(self) -> object:
        """The signatures that follow its failure, as the sender wrote them."""
        return self.embed.get("errbacks")

    @property
    def chain(self) -> object:
        """The steps that follow it in a chain, the next step last."""
        return self.embed.get("chain")

    @property
    def chord(self) -> object:
        """The body of the chord for which it counts, as the sender wrote it."""
        return self.embed.get("chord")

    @property
    def properties(self) -> dict[str, object]:
        """The properties of the message, also those that the sender chose, such as ``app_id``."""
        delivery = self.delivery
        others = json.loads(delivery.properties) if delivery.properties else {}
        return {
            **others,
            "correlation_id": delivery.correlation_id,
            "reply_to": delivery.reply_to,
            "content_type": delivery.content_type,
            "content_encoding": delivery.content_encoding,
            "priority": delivery.priority,
        }

    def get(self, name: str, default: object = None) -> object:
        """Return an attribute by name, as Celery's request does."""
        return getattr(self, name, default)

    @property
    def reply_to(self) -> str:
        """The queue for replies that the sender named."""
        return self.delivery.reply_to

    @property
    def correlation_id(self) -> str:
        """The sender's mark for replies; the task id by custom."""
        return self.delivery.correlation_id or self.id

    @property
    def delivery_info(self) -> dict[str, object]:
        """Where it came from, under Celery's keys, with the queue beside them."""
        delivery = self.delivery
        return {
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "priority": delivery.priority,
            "redelivered": delivery.deliveries > 1,
            "queue": delivery.queue,
        }

    @property
    def headers(self) -> dict[str, object]:
        """The sender's own headers.  Decoded at each call."""
        everything = headers_as_mapping(self.delivery.headers) if self.delivery.headers else {}
        return {name: value for name, value in everything.items() if name not in RESERVED_HEADERS}


def note_children(task_ids: Iterable[str]) -> None:
    """Remember tasks as children of the one that runs in this thread or coroutine, if one does."""
    running = current.get()
    if running is not None:
        room = MOST_CHILDREN - len(running.children)
        running.children += islice(task_ids, max(0, room))


_NO_DELIVERY = Delivery(0, "", "", b"", b"", content_type="", content_encoding="")


def direct_request(task_name: str) -> Request:
    """Return the request of a task function that is called like any function, without a message."""
    headers = TaskHeaders(task=task_name, id="")
    return Request(headers, _NO_DELIVERY, (), {}, "", keeps_result=False, called_directly=True)
