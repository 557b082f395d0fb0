"""Look at the messages for some queues on RabbitMQ and take none: by its tracing (the "firehose").

Celery sends straight to a queue, by the default exchange, to which no second queue can be bound.  While
tracing is on, the server copies each message that is published to the exchange ``amq.rabbitmq.trace``, with
the names of the queues that it went to.  The copies come into a queue of this connection's own, which ends
with it, however it ends.
"""

from __future__ import annotations

import uuid
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from itertools import count
from typing import Any
from urllib.parse import unquote, urlsplit

from taskd.base.errors import BrokerError
from taskd.brokers.amqp.mailbox import Pushed
from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.envelope import Arrived, Sealed, opened
from taskd.protocol.delivery import Delivery

_TRACE = "amq.rabbitmq.trace"
_PUBLISHED = "publish.#"
#: Copies that wait for a watcher that is slow; the server drops the oldest of more.
_MOST_WAITING = 100_000
_MOST_BYTES = 64 << 20
_CONSUMER = "watch"


class AmqpWatch:
    """``MessageWatch`` over one connection."""

    def __init__(self, server: AmqpServer, queues: Sequence[str]) -> None:
        self._server = server
        self._queues = frozenset(queues)
        self._copies: deque[Delivery] = deque()
        self._tags = count(1)
        self._own = f"taskd.watch.{uuid.uuid4()}"
        #: Whether the own message has come since it was sent, and the copy of it.
        self._has_come = False
        self._is_copied = False
        self.closed = False
        self._link = server.connect()
        self._poll = Pushed(self._link)
        try:
            with server.errors():
                self._channel = self._link.channel()
                #: How many messages of each queue wait, which can be read by nobody but who takes them.
                self.unseen: Mapping[str, int] = {
                    queue: waiting
                    for queue in queues
                    if (waiting := naming.ready_count(self._channel, queue) or 0)
                }
            self._listen()
            self._check_tracing()
        except BaseException:
            self.close()
            raise

    def _listen(self) -> None:
        limits = {"x-max-length": _MOST_WAITING, "x-max-length-bytes": _MOST_BYTES}
        channel = self._channel
        try:
            with self._server.errors():
                channel.queue_declare(
                    queue=self._own, durable=False, exclusive=True, auto_delete=True, arguments=limits
                )
                channel.queue_bind(queue=self._own, exchange=_TRACE, routing_key=_PUBLISHED)
                self._link.deliver(channel, self._on_message, self._poll.set)
                channel.basic_consume(self._own, consumer_tag=_CONSUMER, no_ack=True)
        except BrokerError as error:
            raise BrokerError(f"{error}; {self._remedy()}") from error

    def _check_tracing(self) -> None:
        """Raise if the own message has come without a copy, which comes first."""
        self.catch_up()
        if not self._is_copied:
            raise BrokerError(f"{self._server.shown} does not trace messages; {self._remedy()}")

    def _remedy(self) -> str:
        host = unquote(urlsplit(self._server.url).path.partition("/")[2]) or "/"
        return (
            "RabbitMQ shows them to a watcher while tracing is on: have its operator run "
            f'"rabbitmqctl trace_on -p {host}" before the watch and trace_off behind it'
        )

    def _on_message(self, arrived: Arrived) -> None:
        if arrived.exchange != _TRACE:
            self._has_come = True
            return
        headers = arrived.properties.get("application_headers") or {}
        routed = _texts(headers.get("routed_queues"))
        if self._own in routed:
            self._is_copied = True
        for queue in routed:
            if queue in self._queues:
                copy = original(arrived, headers)
                self._copies.append(opened(copy, next(self._tags), queue).delivery)

    def catch_up(self) -> None:
        """Send a message to the own queue, and wait until it comes.  Raises: ``BrokerError``."""
        self._has_come = False
        self._is_copied = False
        with self._server.errors():
            self._link.send_unconfirmed(self._channel, [Sealed("", self._own, b"", {}, {})])
            while not self._has_come:
                self._channel.connection.drain_events(timeout=self._server.config.timeout)

    def receive(self) -> Sequence[Delivery]:
        """Return what has been published since; never waits.  Raises: ``BrokerError``."""
        self._poll.clear()
        self._link.pump()
        found = list(self._copies)
        self._copies.clear()
        return found

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have been published."""
        return self._poll.fileno()

    def close(self) -> None:
        """End the connection, and with it the queue of the copies.  May be called twice."""
        if not self.closed:
            self.closed = True
            self._poll.close()
            self._link.close()


def original(copy: Arrived, headers: Mapping[str, Any]) -> Arrived:
    """Return the message that the server has copied; ``headers`` are the copy's."""
    given = headers.get("properties")
    properties = dict(given) if isinstance(given, Mapping) else {}
    table = properties.pop("headers", None)
    properties["application_headers"] = dict(table) if isinstance(table, Mapping) else {}
    keys = _texts(headers.get("routing_keys"))
    exchange = headers.get("exchange_name")
    return Arrived(
        "",
        0,
        False,
        exchange if isinstance(exchange, str) else "",
        next(iter(keys), ""),
        properties,
        copy.body,
    )


def _texts(value: object) -> Collection[str]:
    return [each for each in value if isinstance(each, str)] if isinstance(value, list) else ()
