"""A kombu channel over the embedded broker: queues, exchanges, messages, acknowledgements.

kombu's virtual transports keep exchanges in memory and put the body as base64 into an envelope.
Here routing and bindings are rows that every process sees, and the body stays as it is.
"""

# mypy: disable-error-code="misc, no-untyped-call, override, assignment"
# kombu's few annotations are inferred from class defaults such as ``default_port = None``; taken at
# their word they forbid what its own transports do.

from __future__ import annotations

from collections.abc import Callable, Iterator
from queue import Empty
from typing import Any

import msgspec
from kombu.exceptions import ChannelError
from kombu.transport import base, virtual
from kombu.utils.json import dumps

from taskd.base.errors import ProtocolError
from taskd.brokers.kombu_client.expiry import check_queue, with_expiration
from taskd.brokers.kombu_client.link import ClientLink
from taskd.brokers.sqlite import queues
from taskd.brokers.sqlite.mailbox import EXPIRES_S
from taskd.brokers.topology import exchange_type
from taskd.protocol.delivery import Ack, Dead, Delivery, Outgoing, Requeue
from taskd.protocol.message import raw_headers

# Properties that have a column, or that mean something only to virtual transports.
_OWN_PROPERTIES = frozenset(
    {"correlation_id", "reply_to", "priority", "delivery_info", "delivery_tag", "body_encoding"}
)

Envelope = dict[str, Any]


class QoS(virtual.QoS):
    """Unacknowledged messages of a channel: each is a claim under the connection's lease."""

    def ack(self, delivery_tag: int) -> None:
        """Delete the message; any thread."""
        self.channel.link.settle(Ack(delivery_tag))
        super().ack(delivery_tag)

    def reject(self, delivery_tag: int, requeue: bool = False) -> None:
        """Put the message back, or park it in the dead-letter queue."""
        rejected = Requeue(delivery_tag) if requeue else Dead(delivery_tag, "rejected by a kombu consumer")
        self.channel.link.settle(rejected)
        super().ack(delivery_tag)


class Channel(virtual.Channel):
    """One channel; all channels of a connection share its link."""

    QoS = QoS
    supports_fanout = True

    def __init__(self, connection: Any, **kwargs: Any) -> None:
        super().__init__(connection, **kwargs)
        self._no_ack: set[str] = set()

    @property
    def link(self) -> ClientLink:
        """The open broker file."""
        link: ClientLink = self.connection.link
        return link

    # -- exchanges and queues ------------------------------------------------------------------

    def exchange_declare(
        self,
        exchange: str | None = None,
        type: str = "direct",  # noqa: A002 - kombu's name
        passive: bool = False,
        **kwargs: Any,
    ) -> None:
        """Make an exchange, or see that it is there."""
        kind = exchange_type(type or "direct")
        name = exchange or f"amq.{kind}"
        if not passive:
            self.link.write(lambda connection: queues.declare_exchange(connection, name, kind))
        elif name not in self.get_exchanges():
            raise ChannelError(
                f"NOT_FOUND - no exchange {name!r}", (50, 10), "Channel.exchange_declare", "404"
            )

    def exchange_delete(self, exchange: str, **kwargs: Any) -> None:
        """Delete an exchange and its bindings."""

        def delete(connection: Any) -> None:
            connection.execute("DELETE FROM binding WHERE exchange=?", (exchange,))
            connection.execute("DELETE FROM exchange WHERE name=?", (exchange,))

        self.link.write(delete)

    def prepare_queue_arguments(self, arguments: Any, **kwargs: Any) -> Any:
        """Return queue options such as ``expires`` as RabbitMQ's arguments."""
        return base.to_rabbitmq_queue_arguments(arguments or {}, **kwargs)

    def _new_queue(
        self,
        queue: str,
        durable: bool = False,
        exclusive: bool = False,
        auto_delete: bool = False,
        arguments: Any = None,
        **kwargs: Any,
    ) -> None:
        expires_ms = (arguments or {}).get("x-expires")
        if expires_ms or (not durable and (exclusive or auto_delete)):
            expires_s = expires_ms / 1000 if expires_ms else EXPIRES_S
            self.link.declare_expiring(queue, expires_s, auto_delete=exclusive or auto_delete)
            return
        check_queue(queue, arguments)
        if not self._has_queue(queue):
            self.link.write(lambda connection: queues.ensure_queue(connection, queue))

    def _has_queue(self, queue: str, **kwargs: Any) -> bool:
        return self.link.read(lambda connection: queues.queue_id(connection, queue)) is not None

    def queue_bind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", **kwargs: Any
    ) -> None:
        """Bind a queue to an exchange."""

        def bind(connection: Any) -> None:
            queues.bind(
                connection, exchange or "amq.direct", routing_key, queues.ensure_queue(connection, queue)
            )

        self.link.write(bind)

    def queue_unbind(
        self, queue: str, exchange: str | None = None, routing_key: str = "", **kwargs: Any
    ) -> None:
        """Delete a binding."""

        def unbind(connection: Any) -> None:
            connection.execute(
                "DELETE FROM binding WHERE exchange=? AND routing_key=? AND queue=?",
                (exchange or "amq.direct", routing_key, queues.queue_id(connection, queue)),
            )

        self.link.write(unbind)

    def queue_delete(
        self, queue: str, if_unused: bool = False, if_empty: bool = False, **kwargs: Any
    ) -> None:
        """Delete a queue with its messages."""

        def delete(connection: Any) -> None:
            number = queues.queue_id(connection, queue)
            if number is not None:
                queues.delete_queue(connection, number)

        if not (if_empty and self._size(queue)):
            self.link.write(delete)

    def _size(self, queue: str) -> int:
        statement = "SELECT count(*) FROM ready JOIN queue q ON q.id=ready.queue WHERE q.name=?"
        return self.link.read(lambda connection: int(connection.execute(statement, (queue,)).fetchone()[0]))

    def _purge(self, queue: str) -> int:
        def purge(connection: Any) -> int:
            number = queues.queue_id(connection, queue)
            return 0 if number is None else queues.purge_queue(connection, number)

        return self.link.write(purge)

    def get_exchanges(self) -> list[str]:
        """Return the names of all exchanges."""
        return self.link.read(
            lambda connection: [row[0] for row in connection.execute("SELECT name FROM exchange")]
        )

    def list_bindings(self) -> Iterator[tuple[str, str, str]]:
        """Return queue, exchange and routing key of all bindings."""
        statement = "SELECT q.name, b.exchange, b.routing_key FROM binding b JOIN queue q ON q.id=b.queue"
        return iter(self.link.read(lambda connection: connection.execute(statement).fetchall()))

    # -- messages --------------------------------------------------------------------------------

    def basic_publish(self, message: Envelope, exchange: str, routing_key: str, **kwargs: Any) -> None:
        """Write one message; on return it is as durable as configured."""
        properties = message["properties"]
        rest = {key: value for key, value in properties.items() if key not in _OWN_PROPERTIES}
        headers = with_expiration(message["headers"], properties.get("expiration"))
        body = message["body"]
        outgoing = Outgoing(
            routing_key=routing_key,
            exchange=exchange or "",
            headers=dumps(headers).encode(),
            body=body.encode() if isinstance(body, str) else bytes(body),
            task_id=str(headers.get("id") or ""),
            content_type=message["content-type"] or "",
            content_encoding=message["content-encoding"] or "",
            priority=self._get_message_priority(message),
            reply_to=properties.get("reply_to") or "",
            correlation_id=properties.get("correlation_id") or "",
            properties=dumps(rest).encode() if rest else None,
        )
        self.link.post(outgoing)

    def _get(self, queue: str, timeout: float | None = None) -> Envelope:
        return self._take(queue, no_ack=queue in self._no_ack)

    def _take(self, queue: str, *, no_ack: bool) -> Envelope:
        taken = self.link.get(queue, no_ack=no_ack)
        if taken is None:
            raise Empty
        return _envelope(*taken)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        """Return the next message of a queue, or None."""
        try:
            message = self.Message(self._take(queue, no_ack=no_ack), channel=self)
        except Empty:
            return None
        if not no_ack:
            self.qos.append(message, message.delivery_tag)
        return message

    def basic_consume(
        self, queue: str, no_ack: bool, callback: Callable[[Any], Any], consumer_tag: str, **kwargs: Any
    ) -> None:
        """Consume from a queue."""
        if no_ack:
            self._no_ack.add(queue)
        super().basic_consume(queue, no_ack, callback, consumer_tag, **kwargs)
        self.link.use(queue)
        self.connection.follow_consumers()

    def basic_cancel(self, consumer_tag: str) -> None:
        """Stop consuming; an auto-delete queue goes with its last consumer."""
        queue = self._tag_to_queue.get(consumer_tag)
        super().basic_cancel(consumer_tag)
        if queue is not None and queue not in self._active_queues:
            self._no_ack.discard(queue)
            self.link.leave(queue)

    def _restore(self, message: Any) -> None:
        self.link.settle(Requeue(message.delivery_tag))


def _envelope(delivery: Delivery, rest: bytes | None) -> Envelope:
    """Return a delivery as the dictionary that kombu's virtual message is made from."""
    properties: Envelope = msgspec.json.decode(rest) if rest is not None else {}
    properties.update(
        priority=delivery.priority,
        delivery_tag=delivery.tag,
        delivery_info={
            "exchange": delivery.exchange,
            "routing_key": delivery.routing_key,
            "redelivered": delivery.deliveries > 1,
        },
    )
    if delivery.correlation_id:
        properties["correlation_id"] = delivery.correlation_id
    if delivery.reply_to:
        properties["reply_to"] = delivery.reply_to
    return {
        "body": delivery.body,
        "content-type": delivery.content_type or None,
        "content-encoding": delivery.content_encoding or None,
        "headers": _headers(delivery.headers),
        "properties": properties,
    }


def _headers(data: bytes) -> dict[str, object]:
    """Return headers as they stand; none when they are not a table."""
    try:
        return raw_headers(data)
    except ProtocolError:
        return {}
