"""RabbitMQ's messages: a consumer for each queue, whose credit follows what the worker claims.

A consumer may have as many unacknowledged messages as its prefetch count says, each by itself: the shared
count (``global``) does not exist for quorum queues.  The count of a consumer cannot be changed, so when the
worker wants more, the consumer is cancelled and begins anew with a larger count.  When the worker wants
nothing for a while, the messages that lie here unclaimed are given back, and the consumers end until the next
claim.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from itertools import count

from amqp.exceptions import UnexpectedFrame

from taskd.brokers.amqp import wire
from taskd.brokers.amqp.mailbox import Pushed
from taskd.brokers.amqp.server import AmqpServer
from taskd.brokers.kombu import naming
from taskd.brokers.kombu.envelope import Arrived, OpenedMessage, Sealed, opened

#: A message that was pushed and not claimed goes back to the queue after this time.
_PATIENCE_S = 0.25
_MOST_CREDIT = 60_000


class PushedSource:
    """``Source`` over AMQP: one connection, with a channel to consume and one for everything else."""

    def __init__(self, server: AmqpServer, queues: Sequence[str], heartbeat_s: float) -> None:
        self._server = server
        self._queues: list[str] = []
        # Tags of other channels, of this or another process, are others: a dead letter's id is its tag.
        self._tags = count((int.from_bytes(os.urandom(3), "big") >> 2) << 31)
        #: Pushed, and not fetched yet.
        self._arrived: list[OpenedMessage] = []
        #: Unacknowledged, in the order in which they came.
        self._out: dict[int, None] = {}
        #: Consumers by queue.
        self._consumers: dict[str, str] = {}
        #: Queues by consumer, of all who may still be sent something.
        self._queue_of: dict[str, str] = {}
        self._credit = 0
        #: How many more the worker would take.
        self._wanted = 0
        self._names = count(1)
        self.closed = False
        self._link = server.connect(heartbeat_s)
        self._poll = Pushed(self._link)
        try:
            with server.errors():
                self._channel = self._link.channel()
                self._link.deliver(self._channel, self._on_message, self._poll.set)
                self._side = self._link.channel()
                self._send = self._link.sender(self._side)
                for queue in queues:
                    self.add_queue(queue)
                naming.register(self._side, self._publish, server, queues)
            # One message may come before the first claim, to wake whoever waits for some.
            self._wanted = 1
            self._consume(1)
        except BaseException:
            self.close()
            raise

    # -- receiving ---------------------------------------------------------------------------

    def _on_message(self, arrived: Arrived) -> None:
        queue = self._queue_of.get(arrived.consumer)
        if queue is None:
            raise UnexpectedFrame(f'a message for the consumer "{arrived.consumer}", which does not exist')
        message = opened(arrived, next(self._tags), queue)
        message.since = self._server.timing.monotonic()
        self._out[int(arrived.handle)] = None
        self._arrived.append(message)

    def _on_cancelled(self, queue: str, _tag: str) -> None:
        """The server ended a consumer: its queue was deleted, or moved to another node."""
        self._consumers.pop(queue, None)
        self._poll.set()

    def receive(self) -> None:
        """Take in what has come."""
        self._link.pump()

    def fetch(self, limit: int) -> Sequence[OpenedMessage]:
        """Return what has arrived, and ask for the rest."""
        self.receive()
        self._wanted = limit
        needed = len(self._out) - len(self._arrived) + limit
        if len(self._consumers) < len(self._queues) or needed > self._credit:
            self._consume(needed)
        if len({message.delivery.priority for message in self._arrived}) > 1:
            self._arrived.sort(key=lambda message: -message.delivery.priority)
        found, self._arrived = self._arrived[:limit], self._arrived[limit:]
        self._wanted = limit - len(found)
        return found

    def _consume(self, needed: int) -> None:
        """Begin consumers that may hold ``needed`` messages."""
        if needed > self._credit:
            # A power of two while it grows, so that it seldom has to.
            grows = bool(self._consumers)
            self._cancel_consumers()
            self._credit = min(_MOST_CREDIT, 1 << (needed - 1).bit_length() if grows else needed)
        with self._server.errors():
            self._channel.basic_qos(0, self._credit, a_global=False)
            for queue in self._queues:
                if queue not in self._consumers:
                    self._begin(queue)

    def _begin(self, queue: str) -> None:
        naming.declare_queue(self._side, self._server, queue)
        name = f"taskd-{next(self._names)}"
        self._consumers[queue] = name
        self._queue_of[name] = queue
        self._channel.basic_consume(queue, consumer_tag=name, on_cancel=partial(self._on_cancelled, queue))

    def _cancel_consumers(self) -> None:
        with self._server.errors():
            for name in self._consumers.values():
                self._channel.basic_cancel(name)
                self._queue_of.pop(name, None)
        self._consumers.clear()
        self._credit = 0

    # -- settling ----------------------------------------------------------------------------

    def acknowledge(self, handles: Sequence[int | str]) -> None:
        """Delete messages; as many as possible with one frame."""
        wanted = {handle for handle in handles if isinstance(handle, int)}
        up_to = 0
        for handle in self._out:
            if handle not in wanted:
                break
            up_to = handle
        for handle in wanted:
            del self._out[handle]
        with self._server.errors():
            wire.acknowledge(self._channel, up_to, sorted(handle for handle in wanted if handle > up_to))

    def give_back(self, handles: Sequence[int | str]) -> None:
        """Put messages back; the server remembers their places."""
        with self._server.errors():
            known = [handle for handle in handles if isinstance(handle, int)]
            for handle in known:
                self._out.pop(handle, None)
            wire.give_back(self._channel, known)

    def publish(self, messages: Sequence[Sealed]) -> None:
        """Send messages and wait for the server's word."""
        with self._server.errors():
            self._publish(messages)

    def _publish(self, messages: Sequence[Sealed]) -> None:
        naming.publish_somewhere(self._send, self._side, self._server, messages)

    def refusal(self, message: Sealed) -> str:
        """Return why AMQP cannot carry a message, empty if it can."""
        return wire.refusal(self._channel, message)

    # -- waiting and looking -----------------------------------------------------------------

    def fileno(self) -> int:
        """Return the descriptor of a poller over the socket; ``wake`` makes it readable, too."""
        return self._poll.fileno()

    def wake(self) -> None:
        """Make the descriptor readable."""
        self._poll.set()

    def clear_wakeups(self) -> None:
        """Take in what has come."""
        self._poll.clear()
        self.receive()

    def depth(self) -> int:
        """Ask the server how many messages wait in the queues, and add those that wait here."""
        with self._server.errors():
            counts = [naming.ready_count(self._side, queue) or 0 for queue in self._queues]
        self._give_back_unclaimed()
        return sum(counts) + len(self._arrived)

    def tick(self) -> None:
        """Send a heartbeat if one is due."""
        self._link.beat()
        self.receive()
        if self._arrived and self._wanted:
            self._poll.set()
        self._give_back_unclaimed()

    def _give_back_unclaimed(self) -> None:
        """Hoard nothing: what nobody claims here may be run by others."""
        late = self._server.timing.monotonic() - _PATIENCE_S
        if self._wanted or not any(message.since < late for message in self._arrived):
            return
        self._cancel_consumers()
        unclaimed, self._arrived = self._arrived, []
        self.give_back([message.handle for message in unclaimed])

    # -- queues ------------------------------------------------------------------------------

    def add_queue(self, queue: str) -> None:
        """Make a queue if missing; the next claim consumes from it."""
        with self._server.errors():
            naming.declare_queue(self._side, self._server, queue)
            if self._consumers:
                self._begin(queue)
        self._queues.append(queue)
        self._poll.set()

    def cancel_queue(self, queue: str) -> None:
        """End the consumer of a queue."""
        self._queues.remove(queue)
        name = self._consumers.pop(queue, None)
        if name is not None:
            with self._server.errors():
                self._channel.basic_cancel(name)
            self._queue_of.pop(name, None)
        others = [message for message in self._arrived if message.delivery.queue != queue]
        gone = [message.handle for message in self._arrived if message.delivery.queue == queue]
        self._arrived = others
        self.give_back(gone)

    def close(self) -> None:
        """End the connection: the server gives back what it is not told is done."""
        if self.closed:
            return
        self.closed = True
        self._link.close()
        self._poll.close()
