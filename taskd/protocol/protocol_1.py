"""Celery's task protocol 1, in which the body says everything and the headers nothing.

Producers of other languages still write it, and Celery does on request (``task_protocol = 1``).  Its body is
an object.  The headers of protocol 2 are made from it, and the body stays as it is.  A body of this form
under headers of protocol 2 is what Celery calls a hybrid, and ``decode_body`` reads it.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping

import msgspec

from taskd.base.errors import ProtocolError, SerializationError
from taskd.protocol import content
from taskd.protocol.delivery import Delivery
from taskd.protocol.message_repr import bounded_repr

logger = logging.getLogger(__name__)

_TAKEN = (
    *("lang", "task", "id", "root_id", "parent_id", "group", "group_index", "shadow", "eta", "expires"),
    *("retries", "timelimit", "origin", "argsrepr", "kwargsrepr"),
)


def is_protocol_1(headers: bytes) -> bool:
    """Return whether headers name no task, so that the body may do it; cheap, and never wrong about ours."""
    return b'"task"' not in headers


def of_protocol_2(delivery: Delivery) -> Delivery:
    """Return a message of protocol 1 with headers; any other as it is, for whoever decides to refuse it."""
    if not is_protocol_1(delivery.headers):
        return delivery
    try:
        headers = headers_from_body(delivery.headers, delivery.body, delivery.content_type)
    except ProtocolError as error:
        logger.debug("queue=%s message is not of protocol 1: %s", delivery.queue, error)
        return delivery
    return msgspec.structs.replace(delivery, headers=headers)


def headers_from_body(headers: bytes, body: bytes, content_type: str) -> bytes:
    """Return the headers of protocol 2 that say the same as a body of protocol 1.

    Raises: ``ProtocolError`` when the body is not one, or cannot be read without running code (pickle).
    """
    try:
        given = json.loads(headers or b"{}") or {}  # PHP writes an empty table as []
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"task headers are not JSON: {error}") from error
    if not isinstance(given, dict):
        raise ProtocolError(f"task headers are of type {type(given).__name__}; expected a JSON object")
    compression = given.get("compression")
    try:
        task = content.read(body, content_type, compression if isinstance(compression, str) else None)
    except SerializationError as error:
        raise ProtocolError(f"no header `task`, and the body cannot be asked for it: {error}") from error
    if not isinstance(task, dict) or "task" not in task:
        raise ProtocolError(
            "no header `task` (Celery's task protocol 2), and the body is not an object with one (protocol 1)"
        )
    return json.dumps({**_headers(task), **given}, default=str).encode()


def _headers(task: Mapping[str, object]) -> dict[str, object]:
    found = {name: task[name] for name in _TAKEN if name in task}
    found.setdefault("group", task.get("taskset"))
    found.setdefault("argsrepr", bounded_repr(task.get("args") or ()))
    found.setdefault("kwargsrepr", bounded_repr(task.get("kwargs") or {}))
    return found
