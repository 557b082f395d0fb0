"""The sides of a broker beside its intake: publishing, mailboxes, and a desk for the operator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from taskd.brokers.intake import Intake
from taskd.config.kinds import BrokerKind
from taskd.protocol.delivery import Delivery, Outgoing

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


@dataclass(frozen=True, slots=True)
class QueueInfo:
    """How many messages of a queue are in each condition."""

    name: str
    ready: int
    delayed: int
    claimed: int
    dead: int
    #: Claimed by Celery workers, or left by one that was killed (Redis alone).
    unacked: int = 0


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One line about a message in the dead-letter queue; ``task`` is empty where no name is known."""

    id: int
    queue: str
    task: str
    task_id: str
    reason: str
    died_at: float
    deaths: int


@dataclass(frozen=True, slots=True)
class DeadMessage:
    """A dead letter with the evidence of its end and the whole message."""

    letter: DeadLetter
    evidence: bytes
    headers: bytes
    body: bytes
    content_type: str
    content_encoding: str


@dataclass(frozen=True, slots=True)
class DeadFilter:
    """Selects dead letters.  A letter matches if every field that is set matches."""

    task: str | None = None
    queue: str | None = None
    #: Wall-clock second of the earliest death.
    since_at: float | None = None
    ids: Sequence[int] | None = None


ALL_DEAD = DeadFilter()


class Desk(Protocol):
    """The operator's view of a broker; every call is one short transaction."""

    def queues(self) -> Sequence[QueueInfo]:
        """Return all durable queues, by name."""

    def purge(self, queue: str) -> int:
        """Delete the ready and delayed messages of a queue, not the claimed; return how many."""

    def dead_letters(self, which: DeadFilter = ALL_DEAD, limit: int = 100) -> Sequence[DeadLetter]:
        """Return up to ``limit`` dead letters, the newest first.  Bodies are not read."""

    def dead_letter(self, letter_id: int) -> DeadMessage | None:
        """Return one dead letter with its evidence and message; None when there is none of this id."""

    def dead_ids(self, which: DeadFilter = ALL_DEAD) -> Sequence[int]:
        """Return the ids of dead letters, the oldest first."""

    def requeue_dead(self, ids: Sequence[int]) -> int:
        """Send dead letters to their queues again with deaths and deliveries at zero; return how many.

        One transaction; some hundred ids at once keep it short.
        """

    def purge_dead(self, ids: Sequence[int]) -> int:
        """Delete these dead letters; return how many there were.  One transaction, as ``requeue_dead``."""

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
