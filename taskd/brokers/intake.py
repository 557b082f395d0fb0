"""The seam between a worker and its broker: claim a batch, settle a batch, renew one lease.

Promises of every implementation (tests/contract/test_broker_contract.py):

- ``claim`` hands out a message and writes its lease in one atomic step; no crash can lose it.
- All claims of one intake belong to one *generation* with one lease.  Opening an intake under a
  name that is in use fences the former generation off: its claims go back to their queues, and
  whatever it settles later is refused.
- A claim whose lease ran out is handed to the next claimer.
- A message is handed out in order of priority (highest first), then of arrival.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import msgspec

from taskd.base.errors import LeaseLostError


class Delivery(msgspec.Struct, frozen=True, gc=False):
    """One claimed message.  A msgspec struct because a worker makes tens of thousands a second."""

    #: The broker's handle; unique within one intake.
    tag: int
    queue: str
    #: Task id; empty for a message that is not a task.
    task_id: str
    #: The application headers as JSON text, untouched.
    headers: bytes
    body: bytes
    content_type: str
    content_encoding: str
    priority: int
    #: 1 on the first delivery.  Counts deliveries that may have run, not those returned unstarted.
    deliveries: int
    #: How many workers or pool children died while running it.
    deaths: int
    reply_to: str
    correlation_id: str
    exchange: str
    routing_key: str
    #: JSON of the properties that have no place above, such as ``app_id``; None for none.
    properties: bytes | None = None


class Outgoing(msgspec.Struct, frozen=True, gc=False, kw_only=True):
    """One message to publish.

    ``exchange`` empty means the default exchange: ``routing_key`` is the queue, made if missing.
    """

    routing_key: str
    headers: bytes
    body: bytes
    exchange: str = ""
    task_id: str = ""
    content_type: str = "application/json"
    content_encoding: str = "utf-8"
    #: 0 to 9; 9 is served first.
    priority: int = 0
    #: Wall-clock second before which it is not handed out; None: at once.
    due_at: float | None = None
    reply_to: str = ""
    correlation_id: str = ""
    #: As ``Delivery.properties``.
    properties: bytes | None = None


def lease_lost(owner: str, lease_s: float) -> LeaseLostError:
    """Return the error of a generation whose claims another has now."""
    return LeaseLostError(
        f'the claims of "{owner}" were taken over: either its lease of {lease_s:g} s ran out '
        "or another process started under this name; open a new intake"
    )


class Ack(msgspec.Struct, frozen=True, gc=False):
    """The message is done with: delete it."""

    tag: int


class Requeue(msgspec.Struct, frozen=True, gc=False):
    """Put the message back in its place in the queue.

    ``started`` off takes the delivery back from the count; ``died`` on adds one to its deaths.
    """

    tag: int
    started: bool = True
    died: bool = False


class Delay(msgspec.Struct, frozen=True, gc=False):
    """Put the message back, not to be handed out before the wall-clock second ``due_at``."""

    tag: int
    due_at: float
    started: bool = False


class Dead(msgspec.Struct, frozen=True, gc=False):
    """Move the message to the dead-letter queue.

    ``reason`` is one short line for people; ``evidence`` is JSON text with whatever is known;
    ``died``: it has just killed its process once more.
    """

    tag: int
    reason: str
    evidence: bytes = b"{}"
    died: bool = False


class Replace(msgspec.Struct, frozen=True, gc=False):
    """Delete the message and publish another in the same transaction: a retry cannot be lost."""

    tag: int
    message: Outgoing


Settlement = Ack | Requeue | Delay | Dead | Replace


@runtime_checkable
class Advancing(Protocol):
    """An intake that can let delayed messages come sooner.  Not every broker can."""

    def advance(self, entries: Sequence[tuple[float, Delivery]], due_at: float) -> None:
        """Let messages become due at ``due_at`` (wall clock); entries as ``Intake.scheduled`` returned them.

        One that is not there any more is passed over.  Raises: ``StorageError`` or ``BrokerError``.
        """


@runtime_checkable
class Carrying(Protocol):
    """An intake that takes result records along.  Only over a server that can keep both."""

    def settle_after(self, results: Any, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Write results, then settle, in one atomic trip; else as ``Intake.settle``.

        ``results``: what the result store of the same server calls their writing.  When they cannot be
        written, nothing is settled.
        """


class Intake(Protocol):
    """The claims of one worker generation.  Not thread-safe: one loop owns it."""

    def claim(self, limit: int) -> Sequence[Delivery]:
        """Return up to ``limit`` messages that are due, claimed.  Never waits for a message.

        Raises: ``LeaseLostError`` after a takeover; ``StorageError`` or ``BrokerError`` when the
        broker cannot be used now (nothing was claimed).
        """

    def settle(self, outcomes: Sequence[Settlement]) -> Sequence[int]:
        """Carry out all outcomes in one atomic trip; return the tags that were refused.

        A tag is refused when its lease is no longer this generation's.  On an error nothing was
        settled and the same call may be made again.
        """

    def renew(self) -> None:
        """Extend the lease of all claims; call it every ``lease_s / 3``.

        Raises: ``LeaseLostError`` after a takeover.
        """

    @property
    def lease_s(self) -> float:
        """How long claims stay with a worker that has stopped renewing."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when there may be something to claim."""

    def clear_wakeups(self) -> None:
        """Make ``fileno`` unreadable; then claim, in this order.

        What comes after a claim that returned fewer than it asked for makes it readable again.
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
