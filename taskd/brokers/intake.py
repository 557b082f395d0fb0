"""The seam between a worker and its broker: claim a batch, settle a batch, renew one lease.

Promises of every implementation (tests/contract/test_broker_*.py):

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

from taskd.base.errors import LeaseLostError
from taskd.protocol.delivery import Delivery, Settlement


def lease_lost(owner: str, lease_s: float) -> LeaseLostError:
    """Return the error of a generation whose claims another has now."""
    return LeaseLostError(
        f'the claims of "{owner}" were taken over: either its lease of {lease_s:g} s ran out '
        "or another process started under this name; open a new intake"
    )


@runtime_checkable
class Advancing(Protocol):
    """An intake that can let delayed messages come sooner.  Not every broker can."""

    def advance(self, entries: Sequence[tuple[float, Delivery]], due_at: float) -> None:
        """Let messages become due at ``due_at`` (wall clock); entries as ``Intake.scheduled`` returned them.

        One that is not there any more is passed over.  Raises: ``BackendError``.
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
