"""The needs of an intake, whether the transport's server pushes messages or has to be asked for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from taskd.brokers.kombu.envelope import OpenedMessage, Sealed


class Source(Protocol):
    """The messages of some queues over one channel.  Not thread-safe.

    Every method may raise ``BrokerError``: then the channel is lost, and with it what was fetched.
    """

    def fetch(self, limit: int) -> Sequence[OpenedMessage]:
        """Return up to ``limit`` messages without waiting; they are held until they are settled."""

    def acknowledge(self, handles: Sequence[int | str]) -> None:
        """Delete messages that are held."""

    def give_back(self, handles: Sequence[int | str]) -> None:
        """Put messages back into their places."""

    def publish(self, messages: Sequence[Sealed]) -> None:
        """Send messages, and wait until the server has taken charge of them."""

    def refusal(self, message: Sealed) -> str:
        """Return why this transport cannot carry a message, empty if it can."""

    def receive(self) -> None:
        """Take in what has come, without waiting."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to fetch."""

    def wake(self) -> None:
        """Make the descriptor readable."""

    def clear_wakeups(self) -> None:
        """Make the descriptor unreadable; take in what has come."""

    def depth(self) -> int:
        """Return how many messages could be fetched."""

    def add_queue(self, queue: str) -> None:
        """Fetch from a queue too; it is made if missing."""

    def cancel_queue(self, queue: str) -> None:
        """Stop fetching from a queue; unfetched messages that wait here go back."""

    def tick(self) -> None:
        """Keep the connection alive, and give back what has waited here for too long."""

    def close(self) -> None:
        """Give everything back and end the connection.  May be called twice."""
