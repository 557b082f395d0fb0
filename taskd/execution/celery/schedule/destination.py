"""The queue that a message of a Celery app goes to, by the app's own routes and queues."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from taskd.base.errors import ConfigError

if TYPE_CHECKING:
    from celery import Celery
    from kombu.entity import Queue


@dataclass(frozen=True, slots=True)
class Send:
    """The arguments of ``apply_async`` by which Celery's beat sends an entry."""

    task: str
    args: Sequence[object] = ()
    kwargs: Mapping[str, object] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


def routed(app: Celery, send: Send) -> tuple[str, Mapping[str, Any]]:
    """Return the queue's name, and the options as the task, ``task_routes`` and the queue complete them.

    Raises: ``ConfigError`` where the message would reach another number of queues than one.
    """
    task = app.tasks.get(send.task)
    own = {} if task is None else task._get_exec_options()
    given = {**{key: value for key, value in own.items() if value is not None}, **send.options}
    options = app.amqp.router.route(given, send.task, list(send.args), dict(send.kwargs), task)
    queue: Queue | None = options.pop("queue", None)
    exchange = _name_of(options.pop("exchange", None))
    key = options.pop("routing_key", None)
    kind = options.pop("exchange_type", None) or (queue.exchange.type if queue is not None else "direct")
    if exchange is not None and key and not (exchange == "" and kind == "direct"):
        return _bound(app, exchange, str(key)), options
    if exchange == "" and key:
        return str(key), options
    if queue is None:
        queue = app.amqp.default_queue
    if kind == "fanout":
        raise ConfigError(f'the queue "{queue.name}" is a broadcast; expected a queue that one worker reads')
    return str(queue.name), options


def _name_of(exchange: object) -> str | None:
    found = getattr(exchange, "name", exchange)
    return None if found is None else str(found)


def _bound(app: Celery, exchange: str, key: str) -> str:
    """Return the one queue that an exchange gives a message of this key to, as ``task_queues`` binds it."""
    found = [queue.name for queue in app.amqp.queues.values() if _takes(queue, exchange, key)]
    if len(found) != 1:
        names = " and ".join(sorted(found)) or "no queue of task_queues"
        raise ConfigError(
            f'the exchange "{exchange}" with the routing key "{key}" leads to {names}; expected one queue'
        )
    return str(found[0])


def _takes(queue: Queue, exchange: str, key: str) -> bool:
    if queue.exchange is None or queue.exchange.name != exchange:
        return False
    match queue.exchange.type:
        case "fanout":
            return True
        case "topic":
            words = re.escape(queue.routing_key).replace(r"\*", r"[^.]+").replace(r"\#", r".*")
            return re.fullmatch(words, key) is not None
        case _:
            return bool(queue.routing_key == key)
