"""The request of a task that does not run, for Celery's backends and for receivers of its signals.

It says as much as the message does: a body that cannot be read leaves it without arguments and callbacks.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from celery import Celery
from celery.app.task import Context
from kombu.message import Message
from kombu.serialization import prepare_accept_content

from taskd.execution.celery.request import arguments_of, request_of
from taskd.protocol.delivery import Delivery
from taskd.protocol.message import headers_as_mapping

logger = logging.getLogger(__name__)

#: The parts of a body that say what follows the task.
_LINKED = ("callbacks", "errbacks", "chain", "chord")


class EndedRequest(Context):  # type: ignore[misc]  # Celery has no types
    """Celery's ``Context``, with what receivers know from a request of its worker."""

    #: Given by ``ended_request``; names and defaults as the class of Celery has them.
    task: str = ""
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    _message: Callable[[], Message]

    @property
    def name(self) -> str:
        """The name to show, which may not be the task's own."""
        return self.shadow or self.task

    task_name = name

    @property
    def type(self) -> str:
        """The name of the task."""
        return self.task

    @property
    def task_id(self) -> str:
        """The id, as it was once called."""
        return str(self.id)

    @property
    def message(self) -> Message:
        """The message as kombu gives it; there is nothing to acknowledge."""
        return self._message()

    @property
    def request_dict(self) -> dict[str, object]:
        """All fields by their names."""
        return {key: value for key, value in vars(self).items() if not key.startswith("_")}

    def info(self, safe: bool = False) -> dict[str, object]:
        """Return the fields that ``inspect`` shows."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self.argsrepr if safe else self.args,
            "kwargs": self.kwargsrepr if safe else self.kwargs,
            "type": self.type,
            "hostname": self.hostname,
            "time_start": None,
            "acknowledged": False,
            "delivery_info": self.delivery_info,
            "worker_pid": None,
        }

    def humaninfo(self) -> str:
        """Return name and id."""
        return f"{self.name}[{self.id}]"


def ended_request(app: Celery, delivery: Delivery, task_id: str, node_name: str) -> EndedRequest:
    """Return the request of a message whose task ends without a word of its own.

    Raises: ``ProtocolError`` for headers that are not a table.
    """
    fields = request_of(delivery, task_id, node_name)
    accepted = prepare_accept_content(app.conf.accept_content)
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = {}
    linked: Mapping[str, object] = {}
    try:
        args, kwargs, linked = arguments_of(delivery, fields.get("compression"), accepted)
    except Exception as error:  # noqa: BLE001 - the app's own serializers run here
        logger.warning("task=%s id=%s its body cannot be read: %s", fields.get("task"), task_id, error)
    linked = {name: value for name, value in linked.items() if name in _LINKED and value}
    fields = {**fields, **linked, "id": task_id, "args": args, "kwargs": kwargs, "called_directly": False}
    request = EndedRequest(fields)
    request._message = partial(_message, delivery, fields, accepted)
    return request


def _message(delivery: Delivery, fields: Mapping[str, Any], accepted: Collection[str]) -> Message:
    return Message(
        delivery.body,
        content_type=delivery.content_type,
        content_encoding=delivery.content_encoding,
        delivery_info=fields["delivery_info"],
        properties=fields["properties"],
        headers=headers_as_mapping(delivery.headers),
        accept=accepted,
    )
