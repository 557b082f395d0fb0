"""Messages of a Celery app as its own client writes them, and its tasks run by the executor of a pool."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from kombu.compression import compress
from kombu.serialization import dumps

from taskd.execution.celery.running import CeleryExecutor
from taskd.execution.celery.worker_start import build_tracers
from taskd.protocol.delivery import Delivery
from taskd.protocol.execution import Assignment, Reply, decode_reply, encode

NODE = "w@h"


def delivery_of(
    app: Any,
    name: str,
    args: Sequence[object] = (),
    kwargs: Mapping[str, object] | None = None,
    *,
    task_id: str = "id-1",
    serializer: str = "json",
    compression: str | None = None,
    properties: Mapping[str, object] | None = None,
    headers: Mapping[str, object] | None = None,
    **options: Any,
) -> Delivery:
    """Return what a broker hands out for a task that a client of the app has sent."""
    message = app.amqp.as_task_v2(task_id, name, list(args), dict(kwargs or {}), **options)
    written = {**message.headers, **(headers or {})}
    content_type, content_encoding, body = dumps(message.body, serializer=serializer)
    body = body if isinstance(body, bytes) else body.encode()
    if compression:
        body, written["compression"] = compress(body, compression)
    return Delivery(
        1,
        "celery",
        task_id,
        json.dumps(written).encode(),
        body,
        content_type=content_type,
        content_encoding=content_encoding,
        reply_to=message.properties["reply_to"],
        correlation_id=task_id,
        routing_key="celery",
        properties=msgspec.json.encode(properties) if properties else None,
    )


def executor_of(app: Any) -> CeleryExecutor:
    """Return what runs the app's tasks in a process that is ready for them."""
    app.finalize()
    build_tracers(app, NODE)
    return CeleryExecutor(app, NODE, {}, None)


def run(app: Any, delivery: Delivery) -> Reply:
    """Run it as a slot of a pool does."""
    return decode_reply(executor_of(app)(encode(Assignment(delivery))))
