"""The tasks that must not run here, over restarts too.  Commands, neighbours and the broker tell of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from taskd.base import clock
from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.work import Work
from taskd.revocations.known import By, Revocations, stamps_of
from taskd.revocations.store import RevocationStore

#: Characters of an id, a name or a stamp that is remembered.
LONGEST = 4096

#: Under which name ``hello`` has each kind.
_HELLO: Mapping[str, By] = {"revoked": By.ID, "revoked_names": By.NAME, "revoked_stamps": By.STAMP}


class RevokedTasks:
    """The revocations of one worker.  For the loop's thread."""

    def __init__(self, work: Work, state: RevocationStore | None) -> None:
        self._work = work
        self._state = state
        #: For the decision about each message.
        self.known = Revocations()

    def load(self) -> None:
        """Take in what was revoked while this worker could not hear it."""
        if self._state is not None:
            self._state.load(self.known)

    def remember(self, kind: By, what: Iterable[str]) -> None:
        """Let nothing of this run here from now on, nor after a restart."""
        fresh = list(what)
        self.known[kind].add(fresh, clock.monotonic())
        if self._state is not None and fresh:
            self._state.add(kind, fresh)

    def discard(self, kind: By, what: Iterable[str]) -> None:
        """Forget that this was revoked."""
        gone = list(what)
        if gone:
            self.known[kind].discard(gone)
            if self._state is not None:
                self._state.discard(kind, gone)

    def held(self, kind: By, what: Iterable[str]) -> Mapping[int, WorkerRequest]:
        """Return what the pool holds of this, by tag."""
        picks = _picks(kind, frozenset(what))
        return {tag: request for tag, request in self._work.requests.items() if picks(request)}

    def tell(self) -> dict[str, object]:
        """Return what is revoked, as ``hello`` tells it; ids are Celery's, the rest is ours."""
        now = clock.monotonic()
        kinds = {key: list(self.known[kind].ids(now)) for key, kind in _HELLO.items()}
        return {key: what for key, what in kinds.items() if what or key == "revoked"}

    def learn(self, told: Mapping[str, object]) -> int:
        """Take over what a neighbour tells in ``hello``, and drop what waits here; return how many."""
        learnt = 0
        for key, kind in _HELLO.items():
            what = told.get(key)
            # Up to Celery 5.6 a mapping of ids to times, since then a list.
            if isinstance(what, (list, dict)):
                known = self.known[kind]
                fresh = [
                    each
                    for each in what
                    if isinstance(each, str) and len(each) <= LONGEST and each not in known
                ]
                if fresh:
                    self.remember(kind, fresh)
                    for tag in self.held(kind, fresh):
                        self._work.pool.cancel(tag, 0)  # leaves alone what has begun
                learnt += len(fresh)
        return learnt


def _picks(kind: By, what: frozenset[str]) -> Callable[[WorkerRequest], bool]:
    match kind:
        case By.ID:
            return lambda request: request.headers.id in what
        case By.NAME:
            return lambda request: request.headers.task in what
        case By.STAMP:
            return lambda request: not what.isdisjoint(stamps_of(request.headers))
