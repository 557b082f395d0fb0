"""Collecting the results of many tasks: how often to look, what is still sought, when to ask for everything.

Asking for every id at each wake-up costs the square of their number.  So a collector asks for each id once
at the start, and reads from then on what *arrives*; wake-ups gather meanwhile.  An arrival can be missed (a
wake-up is a hint, a subscription breaks), so after a quiet second it asks for all again, the more rarely the
longer that takes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from threading import Event
from typing import Protocol

from taskd.base import clock
from taskd.base.errors import StorageError
from taskd.base.lifecycle import Deadline
from taskd.base.wakeup import Readable

#: Ids in one question.
ASK_AT_ONCE = 500
#: How long a collector waits before it looks by itself.
LOOK_S = 1.0

#: Arrivals gather for this time for each task that is sought, and at most for the second one.
_GATHER_S_EACH = 50e-6
_GATHER_S = 0.03
#: A question for everything takes at most this share of the time.
_ASKING_SHARE = 0.05
#: A store that is away for longer than this is an error; a restart of a server is not.
_BRIDGED_S = 10.0
_TRY_AGAIN_S = 0.2


class Search:
    """The tasks that one collector still seeks, and its times to look.  Time is passed in, monotonic."""

    def __init__(self, task_ids: Collection[str]) -> None:
        #: In the order in which they were given.
        self.pending = dict.fromkeys(task_ids)
        self._unasked = list(reversed(self.pending))
        self._asking_s = 0.0
        self._quiet_since = 0.0
        self._looked_at = 0.0

    @property
    def is_asking(self) -> bool:
        """Whether there are ids that nobody has asked for yet."""
        return bool(self._unasked)

    def ask_for_all(self) -> None:
        """Ask for everything once more: what arrived meanwhile was not heard of."""
        self._unasked = list(reversed(self.pending))
        self._asking_s = 0.0

    def part(self) -> list[str]:
        """Return the next ids to ask for, and count them as asked."""
        part: list[str] = []
        while self._unasked and len(part) < ASK_AT_ONCE:
            task_id = self._unasked.pop()
            if task_id in self.pending:
                part.append(task_id)
        return part

    def took(self, seconds: float, now: float) -> None:
        """Note how long the question for one part took."""
        self._asking_s += seconds
        self._quiet_since = now

    def found(self, task_ids: Collection[str], now: float) -> None:
        """Seek these no more."""
        for task_id in task_ids:
            self.pending.pop(task_id, None)
        if task_ids:
            self._quiet_since = now

    def looked(self, now: float) -> None:
        """Note that what has arrived was read."""
        self._looked_at = now
        if now - self._quiet_since > max(LOOK_S, self._asking_s / _ASKING_SHARE):
            self.ask_for_all()

    def gather_s(self, now: float) -> float:
        """Return how long arrivals may still gather: not at all for few tasks that end now and then."""
        gather_s = min(_GATHER_S, len(self.pending) * _GATHER_S_EACH)
        return max(0.0, self._looked_at + gather_s - now)


def pause(seconds: float, deadline: Deadline) -> None:
    """Wait, but not beyond the deadline; a way that green threads take too."""
    seconds = min(seconds, deadline.remaining_s())
    if seconds > 0:
        Event().wait(seconds)


class _Bridge:
    """Bears that a store is lost and found again while somebody collects."""

    def __init__(self) -> None:
        self._answered = False
        self._until: Deadline | None = None

    def crossed(self) -> None:
        """Note that the store answers."""
        self._answered = True
        self._until = None

    def bear(self, error: StorageError, deadline: Deadline) -> None:
        """Wait for another try.  Raises: the error, when the store never answered or is away for too long."""
        if self._until is None:
            self._until = Deadline.after(_BRIDGED_S if self._answered else 0.0)
        if self._until.passed or deadline.passed:
            self._until = None
            raise error
        pause(_TRY_AGAIN_S, deadline)


class ResultSource(Protocol):
    """One store, as a collector asks it.  Every method but ``close`` raises ``StorageError``.

    ``deadline`` bounds how long a locked store is waited for, and nothing else.
    """

    def ask(self, task_ids: Sequence[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Return the final records of these, and hear from now on of those that come later."""

    def arrived(self, pending: Set[str], deadline: Deadline) -> Mapping[str, bytes]:
        """Return the final records of pending tasks that have come since, never waiting."""

    def fileno(self) -> int:
        """Return a descriptor that is readable when something may have come."""

    def close(self) -> None:
        """Hear of nothing more; ``ask`` begins anew."""


class SourceCollector:
    """``Collector`` over a store that tells what arrives."""

    def __init__(self, source: ResultSource, task_ids: Collection[str]) -> None:
        self._source = source
        self._search = Search(task_ids)
        self._bridge = _Bridge()

    def next(self, deadline: Deadline) -> Mapping[str, bytes]:
        """Block until final records have come; return each once."""
        search = self._search
        while search.pending:
            asked = search.is_asking
            try:
                found = self._ask(deadline) if asked else self._look(deadline)
                self._bridge.crossed()
            except StorageError as error:
                self._source.close()
                search.ask_for_all()
                self._bridge.bear(error, deadline)
                continue
            if found:
                return found
            if asked:
                continue
            if deadline.passed:
                break
            Readable(self._source.fileno()).within(min(deadline.remaining_s(), LOOK_S))
        return {}

    def _ask(self, deadline: Deadline) -> Mapping[str, bytes]:
        start = clock.monotonic()
        found = self._source.ask(self._search.part(), deadline)
        now = clock.monotonic()
        self._search.took(now - start, now)
        self._search.found(found, now)
        return found

    def _look(self, deadline: Deadline) -> Mapping[str, bytes]:
        search = self._search
        pause(search.gather_s(clock.monotonic()), deadline)
        found = self._source.arrived(search.pending.keys(), deadline)
        now = clock.monotonic()
        search.found(found, now)
        search.looked(now)
        return found

    def close(self) -> None:
        """Release what the source holds; another question would begin anew."""
        self._source.close()
        self._search.ask_for_all()


class PlainCollector:
    """For stores in this process, which answer for all ids at no cost worth mentioning."""

    def __init__(
        self, wait: Callable[[Set[str], Deadline], Mapping[str, bytes]], task_ids: Collection[str]
    ) -> None:
        self._wait = wait
        self._search = Search(task_ids)

    def next(self, deadline: Deadline) -> Mapping[str, bytes]:
        """Block until final records have come; return each once."""
        search = self._search
        pause(search.gather_s(clock.monotonic()), deadline)
        found = self._wait(search.pending.keys(), deadline)
        search.looked(clock.monotonic())
        search.found(found, clock.monotonic())
        return found

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
