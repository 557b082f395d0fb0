"""The seam of brokers: publish a message, claim a batch, settle it, renew one lease.

Promises of every implementation (tests/contract/test_broker_*.py):

- ``claim`` hands out a message and writes its lease in one atomic step; no crash can lose it.
- All claims of one intake belong to one *generation* with one lease.  Opening an intake under a
  name that is in use fences the former generation off: its claims go back to their queues, and
  whatever it settles later is refused.
- A claim whose lease ran out is handed to the next claimer.
- A message is handed out in order of priority (highest first), then of arrival.

The operator's side stands in ``desk``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, runtime_checkable

from taskd.base.errors import LeaseLostError
from taskd.brokers.desk import Desk
from taskd.config.kinds import BrokerKind
from taskd.protocol.delivery import Delivery, Outgoing, Settlement, UnclaimedFailure

ExchangeType = Literal["direct", "topic", "fanout"]


class Publisher(Protocol):
    """Sends messages.  Safe to share between threads."""

    def publish(self, messages: Sequence[Outgoing]) -> None:
        """Write all messages in one trip, all or none; return when they are as durable as configured.

        A message to an exchange without a matching binding goes nowhere, as in AMQP.
        Raises: ``BackendError``; then nothing was sent.
        """

    def close(self) -> None:
        """Release the connection.  May be called twice."""


class Intake(Protocol):
    """The claims of one worker generation.  Not thread-safe: one loop owns it."""

    def claim(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` messages that are due, claimed.  Never waits for a message.

        Raises: ``LeaseLostError`` after a takeover; ``BackendError`` when the broker cannot be used now
        (nothing was claimed).
        """

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Carry out all outcomes in one atomic trip; return the tags that were refused.

        A tag is refused when its lease is no longer this generation's.  On an error nothing was
        settled and the same call may be made again.
        """

    def renew(self) -> None:
        """Extend the lease of all claims; call it every ``lease_s / 3``, or more often.

        Raises: ``LeaseLostError`` after a takeover.
        """

    @property
    def lease_s(self) -> float:
        """How long claims stay with a worker that has stopped renewing."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to claim."""

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable; then claim, in this order.

        A message that comes after a claim that returned fewer than it asked for makes it readable again.
        """

    def next_due_at(self) -> float | None:
        """Return when the next delayed message becomes due (wall clock), or None."""

    def scheduled(self, limit: int) -> Sequence[tuple[float, Delivery]]:
        """Return up to ``limit`` delayed messages of these queues, soonest first, unclaimed."""

    def depth(self) -> int:
        """Return how many messages of these queues could be claimed now; counting may end at 100,000."""

    def queues(self) -> Sequence[str]:
        """Return the queues that ``claim`` looks at."""

    def add_queue(self, queue: str) -> None:
        """Claim from ``queue`` too; it is made if missing."""

    def cancel_queue(self, queue: str) -> None:
        """Claim from ``queue`` no more."""

    def close(self) -> None:
        """Return all claims unstarted and end the lease.  May be called twice."""


def lease_lost(owner: str, lease_s: float) -> LeaseLostError:
    """Return the error of a generation whose claims another has now."""
    return LeaseLostError(
        f'the claims of "{owner}" were taken over: either its lease of {lease_s:g} s ran out '
        "or another process started under this name; open a new intake"
    )


class Mailbox(Protocol):
    """An exclusive, short-lived queue bound to one exchange; receiving a message settles it.

    Remote control and its replies use it.  It disappears when closed, or some minutes after its
    owner died.
    """

    def receive(self) -> Sequence[Delivery]:
        """Return everything that has arrived, never waiting.  The deliveries need no settling."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have arrived."""

    def close(self) -> None:
        """Delete the queue and its binding.  May be called twice."""


class EventSender(Protocol):
    """Sends events to those who listen now, and keeps nothing for those who do not.

    For one loop's thread.  An event is an ``Outgoing`` for the exchange ``topology.EVENT_EXCHANGE``,
    whose routing key is the event's type with dots, such as ``worker.heartbeat``.
    """

    def listened(self) -> bool:
        """Return whether anybody may be listening; True where that cannot be known cheaply.

        Raises: ``BackendError``.
        """

    def send(self, events: Sequence[Outgoing]) -> None:
        """Publish all events in one trip, all or none, as cheaply as the broker can: they may be lost.

        A listener that is too slow loses the oldest.  Raises: ``BackendError``.
        """

    def close(self) -> None:
        """Release the connection.  May be called twice."""


class Broker(Protocol):
    """One broker as opened by ``factory.connect``.  Cheap to hold; opens files lazily per part."""

    url: str
    #: Its record: what it can do.
    kind: BrokerKind

    def intake(self, owner: str, queues: Sequence[str], *, lease_s: float = 10.0) -> Intake:
        """Open the claims of a new generation of ``owner``; fences off and releases the former one."""

    def publisher(self) -> Publisher:
        """Return a publisher of its own."""

    def mailbox(
        self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str = ""
    ) -> Mailbox:
        """Make and bind a mailbox; an old one of the same name is taken over, its messages dropped."""

    def event_sender(self) -> EventSender:
        """Return a sender of events; it opens its connection at first use."""

    def event_box(self, queue: str, routing_key: str = "#") -> Mailbox:
        """Make a mailbox for events of these routing keys; ``routing_key`` is a topic's pattern."""

    def bind(self, queue: str, exchange: str, exchange_type: ExchangeType, routing_key: str) -> None:
        """Bind a durable queue to an exchange; both are made if missing, a second time does nothing.

        Raises: ``BrokerError`` when the exchange exists with another type, ``StorageError``.
        """

    def desk(self) -> Desk:
        """Return the operator's view."""

    def close(self) -> None:
        """Close everything that was opened here.  May be called twice."""


@runtime_checkable
class Replying(Protocol):
    """A broker that can carry replies to queues of single processes: Celery's rpc results.  Not every one."""

    def reply_sender(self) -> Publisher:
        """Return a publisher to queues that exist; a message for any other queue is dropped."""

    def reply_box(self, queue: str, expires_s: float) -> Mailbox:
        """Open a queue for replies, made if missing; it keeps its messages, also when the box is closed.

        It goes by itself when nobody has read it for ``expires_s``.  Raises: ``BrokerError``.
        """


class MessageWatch(Protocol):
    """The messages of some queues as they go by: none is taken, and nothing about the queues changes."""

    @property
    def unseen(self) -> Mapping[str, int]:
        """How many messages of each queue were not looked at; "" counts those of any queue."""

    def receive(self) -> Sequence[Delivery]:
        """Return what was seen since, without waiting; the deliveries need no settling.

        Raises: ``BackendError`` when nothing can be seen any more.
        """

    def catch_up(self) -> None:
        """Wait until ``receive`` returns all that was sent before this call.  Raises: ``BackendError``."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have been seen."""

    def close(self) -> None:
        """Look no more, and leave nothing behind.  May be called twice."""


@runtime_checkable
class Watching(Protocol):
    """A broker whose messages can be seen without taking them.  Not every one."""

    def watch(self, queues: Sequence[str]) -> MessageWatch:
        """Look at the messages of these queues from now on, and first at those that wait, where one can.

        Raises: ``BackendError`` with the remedy, when this server or this user cannot.
        """


@runtime_checkable
class Advancing(Protocol):
    """An intake that can let delayed messages come sooner.  Not every broker can."""

    def advance(self, entries: Sequence[tuple[float, Delivery]], due_at: float) -> None:
        """Let messages become due at ``due_at`` (wall clock); entries as ``Intake.scheduled`` returned them.

        One that is not there any more is passed over.  Raises: ``BackendError``.
        """


@runtime_checkable
class Keeping(Protocol):
    """An intake that keeps messages of tasks that failed for good, within its bounds.  Not every broker can.

    ``settle`` keeps those that are claimed.  ``renew`` takes what is beyond the bounds away in small steps.
    """

    def keep(self, failures: Sequence[UnclaimedFailure]) -> None:
        """Write letters of messages without a claim, all or none.  Raises: ``BackendError``.

        After an error nobody knows about, such as a lost answer, one may be there already: it is kept twice.
        """


@runtime_checkable
class Carrying(Protocol):
    """An intake that takes result records along.  Only over a server that can keep both."""

    def settle_after(self, results: Any, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Write results, then settle, in one atomic trip; else as ``Intake.settle``.

        ``results``: what the result store of the same server calls their writing.  When they cannot be
        written, nothing is settled.
        """
