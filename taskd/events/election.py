"""Celery's gossip election: one of several workers does a thing that is to be done once.  Pure.

The worker that holds the election sends ``worker-elect``; every worker that hears it sends
``worker-elect-ack`` and remembers the call.  When the asker has an answer of every live worker, the call
with the smallest logical time names the leader, by host name where times are equal.  As in Celery only the
asker counts the answers, and it asks all workers by a broadcast: so each of them asks, counts, and comes to
the same leader.
"""

from __future__ import annotations

from dataclasses import dataclass, field

#: Elections that never end, because a worker died in between, are forgotten beyond this.
MAX_OPEN = 100
#: Answers to one election that are counted; more workers than this elect nobody.
MAX_ANSWERS = 10_000


@dataclass(frozen=True, slots=True, order=True)
class Nominee:
    """A worker that could lead; ordered by who does."""

    clock: int
    #: ``<node name>.<pid>``
    who: str
    topic: str = field(compare=False)
    action: object = field(compare=False)


@dataclass(slots=True)
class _Open:
    #: The call that leads by now.  The others are not kept: anybody may send any number.
    first: Nominee | None = None
    #: The workers that have answered us; None while we have not asked.
    answers: set[str] | None = None


class Elections:
    """The elections that one worker takes part in."""

    def __init__(self, max_open: int = MAX_OPEN) -> None:
        self._max_open = max_open
        self._open: dict[str, _Open] = {}

    def _of(self, election: str) -> _Open:
        found = self._open.setdefault(election, _Open())
        while len(self._open) > self._max_open:
            del self._open[next(iter(self._open))]
        return found

    def ask(self, election: str) -> None:
        """Note that this worker asks: from now on its answers count."""
        self._of(election).answers = set()

    def called(self, election: str, call: Nominee) -> None:
        """Note that a worker, this one too, has asked."""
        found = self._of(election)
        found.first = call if found.first is None else min(found.first, call)

    def answered(self, election: str, hostname: str, alive: int) -> Nominee | None:
        """Note an answer; return who leads when that was the last of ``alive`` workers."""
        found = self._open.get(election)
        if found is None or found.answers is None:
            return None  # not for us
        if len(found.answers) < MAX_ANSWERS:
            found.answers.add(hostname)
        if len(found.answers) < alive or found.first is None:
            return None
        del self._open[election]
        return found.first
