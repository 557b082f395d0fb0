"""Queues and exchanges on a server: made where they are missing, with whatever arguments they have otherwise.

AMQP cannot list queues.  So that an operator's desk can, the name of each queue that taskd uses lies as a
message in the queue ``taskd.queues``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from amqp.exceptions import NotFound
from kombu.exceptions import ChannelError as VirtualChannelError

from taskd.base.errors import BrokerError
from taskd.brokers.base import ExchangeType
from taskd.brokers.kombu.envelope import Sealed
from taskd.brokers.kombu.link import Send
from taskd.brokers.kombu.server import Server
from taskd.brokers.topology import OWN_EXCHANGES

NAMES = "taskd.queues"
DEAD = "taskd.dead"
#: Exchanges of kombu's pidbox do not outlive a restart of the server.
_TRANSIENT = frozenset({"celery.pidbox", "reply.celery.pidbox"})
_PERSISTENT = {"delivery_mode": 2, "content_type": "text/plain", "content_encoding": "utf-8"}

Publish = Callable[[Sequence[Sealed]], None]


def ready_count(channel: Any, queue: str) -> int | None:
    """Return how many messages of a queue nobody holds; None when there is no such queue."""
    try:
        return int(channel.queue_declare(queue=queue, passive=True).message_count)
    except (NotFound, VirtualChannelError):
        return None  # py-amqp has opened the channel again


def declare_queue(channel: Any, server: Server, queue: str) -> bool:
    """Make a durable queue unless it exists, whatever arguments it has; return whether it was made.

    Raises: what the transport raises.
    """
    if ready_count(channel, queue) is not None:
        return False
    arguments = server.queue_arguments()
    if queue in (NAMES, DEAD):
        arguments.pop("x-max-priority", None)
    channel.queue_declare(queue=queue, durable=True, auto_delete=False, arguments=arguments)
    return True


def declare_exchange(channel: Any, server: Server, name: str, kind: ExchangeType) -> None:
    """Make an exchange.  Raises: ``BrokerError`` when it exists with another type."""
    own = OWN_EXCHANGES.get(name)
    if own is not None and own != kind:
        raise BrokerError(f'exchange "{name}" has the type {own}, not {kind}')
    with server.errors():
        channel.exchange_declare(exchange=name, type=kind, durable=name not in _TRANSIENT, auto_delete=False)


def publish_somewhere(
    send: Send,
    channel: Any,
    server: Server,
    messages: Sequence[Sealed],
) -> None:
    """Send messages; make the queues that are missing.  Raises: what the transport raises."""
    homeless = send(messages)
    if homeless:
        for queue in {message.routing_key for message in homeless}:
            declare_queue(channel, server, queue)
        lost = send(homeless)
        if lost:
            raise BrokerError(f'queue "{lost[0].routing_key}" cannot be made')


def register(channel: Any, publish: Publish, server: Server, queues: Iterable[str]) -> None:
    """Write down the names of queues that are not written down yet."""
    new = set(queues) - {NAMES, DEAD}
    if not new:
        return
    declare_queue(channel, server, NAMES)
    new -= set(registered(channel))
    if new:
        publish([Sealed("", NAMES, name.encode(), {}, _PERSISTENT) for name in sorted(new)])


def registered(channel: Any) -> Sequence[str]:
    """Return the names of all queues that were written down; a second copy of a name is removed.

    Two that look at the same time may see nothing: then a name is written once more.
    """
    seen: dict[str, object] = {}
    while (raw := channel.basic_get(queue=NAMES)) is not None:
        name = bytes(raw.body).decode("utf-8", "replace") if not isinstance(raw.body, str) else raw.body
        if name in seen:
            channel.basic_ack(raw.delivery_tag)
        else:
            seen[name] = raw.delivery_tag
    for handle in seen.values():
        channel.basic_reject(handle, requeue=True)
    return sorted(seen)
