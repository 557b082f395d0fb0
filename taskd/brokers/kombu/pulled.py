"""Messages of kombu's virtual transports, which are asked for one by one and hold nothing for us.

Unacknowledged messages stand in the memory of kombu's channel: the crash of a worker loses them, but for
transports whose servers know better.  ``docs/rabbitmq.md`` says so.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import count
from typing import Any

from taskd.brokers.kombu import naming
from taskd.brokers.kombu.envelope import OpenedMessage, Sealed, opened, taken
from taskd.brokers.kombu.link import publish
from taskd.brokers.kombu.polling import Poll
from taskd.brokers.kombu.server import Server


class PulledSource:
    """``Source`` over any transport of kombu."""

    def __init__(self, server: Server, queues: Sequence[str]) -> None:
        self._server = server
        self._queues: list[str] = []
        self._tags = count((int.from_bytes(os.urandom(3), "big") >> 2) << 31)
        self.closed = False
        self._link = server.connect()
        self._poll = Poll()
        try:
            with server.errors():
                self._channel = self._link.channel()
                self._side = self._link.channel()
                for queue in queues:
                    self.add_queue(queue)
                naming.register(self._side, self.publish, server, queues)
        except BaseException:
            self.close()
            raise

    def fetch(self, limit: int) -> Sequence[OpenedMessage]:
        """Ask each queue in turn."""
        found: list[OpenedMessage] = []
        with self._server.errors():
            for queue in self._queues:
                while len(found) < limit and (raw := self._channel.basic_get(queue)) is not None:
                    found.append(self._open(queue, raw))
        self._queues = self._queues[1:] + self._queues[:1]
        return found

    def _open(self, queue: str, raw: Any) -> OpenedMessage:
        message = opened(taken(raw), next(self._tags), queue)
        message.since = self._server.timing.monotonic()
        return message

    def acknowledge(self, handles: Sequence[int | str]) -> None:
        """Have the channel forget messages."""
        with self._server.errors():
            for handle in handles:
                self._channel.basic_ack(handle)

    def give_back(self, handles: Sequence[int | str]) -> None:
        """Put messages back."""
        with self._server.errors():
            for handle in handles:
                self._channel.basic_reject(handle, requeue=True)

    def publish(self, messages: Sequence[Sealed]) -> None:
        """Send messages; the transport confirms nothing."""
        with self._server.errors():
            for message in messages:
                publish(self._side, message)

    def refusal(self, message: Sealed) -> str:
        """Return nothing: it is JSON, or whatever its servers take."""
        return ""

    def receive(self) -> None:
        """Do nothing: nothing comes by itself."""

    def fileno(self) -> int:
        """Return a descriptor that is readable at intervals."""
        return self._poll.fileno()

    def wake(self) -> None:
        """Make the descriptor readable."""
        self._poll.set()

    def clear_wakeups(self) -> None:
        """Wait for the next interval."""
        self._poll.clear()

    def depth(self) -> int:
        """Return how many messages wait."""
        with self._server.errors():
            return sum(naming.ready_count(self._side, queue) or 0 for queue in self._queues)

    def add_queue(self, queue: str) -> None:
        """Make a queue if missing."""
        with self._server.errors():
            naming.declare_queue(self._side, self._server, queue)
        self._queues.append(queue)
        self._poll.set()

    def cancel_queue(self, queue: str) -> None:
        """Ask a queue no more."""
        self._queues.remove(queue)

    def tick(self) -> None:
        """Do nothing: there are no heartbeats."""

    def close(self) -> None:
        """Close the channel, which puts back what it holds."""
        if self.closed:
            return
        self.closed = True
        self._link.close()
        self._poll.close()
