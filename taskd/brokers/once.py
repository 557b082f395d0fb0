"""The seam for messages that must be sent once, such as the runs of periodic tasks.

A broker takes part by having a method ``once``; it remembers the ids of such messages beyond their end and
refuses a second one.  One that has none is used through ``PlainOnce``, which sends and knows nothing:
then only the sender's own lease stands between a crash and a second message.

Why not in ``Publisher``: every send would pay for a look-up that only beat needs.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol, cast, runtime_checkable

from taskd.base import clock
from taskd.base.errors import TooLateError
from taskd.brokers.base import Broker, Publisher
from taskd.config.kinds import BrokerCan
from taskd.protocol.delivery import Outgoing


class OncePublisher(Protocol):
    """Sends messages that carry a task id of their own.  Not thread-safe.

    Promises (tests/contract/test_once_contract.py): of all messages with one id, whoever sends them and
    however long after the first has been run and acknowledged, one is accepted, until ``forget``.
    """

    def publish_once(self, messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
        """Write the messages whose ids are new, all or none; return the ids that were refused.

        ``until`` is monotonic and is looked at when no other sender can come between: a process that
        was stopped in the middle sends nothing late.  Messages go to queues, not to exchanges.
        Raises: ``TooLateError`` when ``until`` has passed, ``BackendError``; then
        nothing was sent.
        """

    def active(self, task_ids: Collection[str]) -> Collection[str] | None:
        """Return those of the ids that still wait, run, or wait for a retry; None: it cannot be known.

        A dead letter is not active, nor is a message that its worker acknowledged early.
        """

    def forget(self, older_than_s: float) -> None:
        """Forget the ids of messages that were sent longer ago than this and are over."""

    def close(self) -> None:
        """Release the connection.  May be called twice."""


@runtime_checkable
class SendsOnce(Protocol):
    """A broker that can refuse a second message with the same id."""

    def once(self) -> OncePublisher:
        """Return a publisher of its own, connected."""


class PlainOnce:
    """``OncePublisher`` over a broker that does not remember ids."""

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher

    def publish_once(self, messages: Sequence[Outgoing], *, until: float) -> Collection[str]:
        """Send everything; nothing is ever refused, and ``until`` is looked at before the sending."""
        if clock.monotonic() >= until:
            raise TooLateError
        self._publisher.publish(messages)
        return ()

    def active(self, task_ids: Collection[str]) -> None:
        """Know nothing."""

    def forget(self, older_than_s: float) -> None:
        """Do nothing: nothing is remembered."""

    def close(self) -> None:
        """Release the publisher."""
        self._publisher.close()


def once_publisher(broker: Broker) -> OncePublisher:
    """Return the broker's own, or one that only sends."""
    if BrokerCan.ONCE in broker.kind.can:
        return cast("SendsOnce", broker).once()
    return PlainOnce(broker.publisher())
