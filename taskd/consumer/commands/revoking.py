"""The remote-control commands that keep tasks from running: by id, by name, by stamped header.

With ``terminate`` those that run are ended step by step (``escalating``): asked by
``SoftTimeLimitExceeded`` for ``soft`` seconds, then the signal, and KILL ``term`` seconds after it.
A revocation is remembered for three hours, over restarts too, and is lifted by ``unrevoke``.
"""

from __future__ import annotations

import logging
import signal as signals
from collections.abc import Callable, Iterable, Mapping, Sequence

from taskd.base import clock
from taskd.base.errors import TaskdError
from taskd.consumer.commands.escalating import Escalation, Step, ladder_of, steps
from taskd.consumer.context import Context
from taskd.consumer.request import Request
from taskd.protocol.results import TaskState, decode_record, revoked_record
from taskd.results.base import StoredResult
from taskd.revocations.known import By, stamp_text, stamps_of

logger = logging.getLogger(__name__)


class Revoking:
    """The commands of one worker that change what is revoked."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._escalation = Escalation(context)

    def revoke(
        self,
        task_id: object,
        terminate: bool = False,
        signal: object = None,
        soft: object = None,
        term: object = None,
    ) -> object:
        """Keep tasks from running; with ``terminate`` end those that run, with ``signal`` (TERM).

        ``soft`` and ``term`` are seconds; without them the worker's configuration counts.
        """
        ids = id_list(task_id)
        ended = self._revoke(By.ID, ids, self._plan(signal, soft, term) if terminate else ())
        self._say_revoked(ids)
        if not terminate:
            return {"ok": f"tasks {set(ids)!r} flagged as revoked"}
        return {"ok": f"terminate: {', '.join(ended) if ended else 'tasks unknown'}"}

    def _say_revoked(self, ids: Sequence[str]) -> None:
        """Store REVOKED at once for tasks that nobody has begun, as Celery does.

        A task that this worker holds gets its result in its own time, and so does one that is known to run
        elsewhere.
        """
        held = {request.headers.id for request in self._context.requests.values()}
        waiting = [task_id for task_id in ids if task_id not in held][:_MOST_ANSWERED]
        results = self._context.results
        try:
            known = {
                task_id: decode_record(record).status for task_id, record in results.get(waiting).items()
            }
            now_at, keep_s = clock.now(), self._context.config.result_expires
            results.store(
                [
                    StoredResult(
                        task_id,
                        TaskState.REVOKED.value,
                        revoked_record(task_id, "revoked", done_at=now_at),
                        now_at + keep_s if keep_s else None,
                    )
                    for task_id in waiting
                    if known.get(task_id, TaskState.PENDING) in _NOT_BEGUN
                ]
            )
        except TaskdError as error:
            logger.warning("revoked=%d the results cannot say so yet: %s", len(waiting), error)

    def terminate(self, signal: object, task_id: object, soft: object = None, term: object = None) -> object:
        """Do as ``revoke`` with terminate."""
        return self.revoke(task_id, terminate=True, signal=signal, soft=soft, term=term)

    def revoke_by_name(
        self,
        task_name: object,
        terminate: bool = False,
        signal: object = None,
        soft: object = None,
        term: object = None,
    ) -> object:
        """Keep every task of these names from running, also those that are sent later."""
        names = id_list(task_name)
        ended = self._revoke(By.NAME, names, self._plan(signal, soft, term) if terminate else ())
        return _revoked_all("names", sorted(names), ended, terminate=terminate)

    def revoke_by_stamped_headers(
        self,
        headers: object,
        terminate: bool = False,
        signal: object = None,
        soft: object = None,
        term: object = None,
    ) -> object:
        """Keep every task with one of these stamps from running, also those that are sent later."""
        stamps = stamp_list(headers)
        ended = self._revoke(By.STAMP, stamps, self._plan(signal, soft, term) if terminate else ())
        shown = headers if isinstance(headers, Mapping) else dict(stamp.split("=", 1) for stamp in stamps)
        return _revoked_all("headers", shown, ended, terminate=terminate)

    def unrevoke(self, task_id: object = (), task_name: object = (), headers: object = ()) -> object:
        """Forget that ids, names or stamps were revoked.  Messages dropped meanwhile do not come back."""
        for kind, what in (
            (By.ID, id_list(task_id)),
            (By.NAME, id_list(task_name)),
            (By.STAMP, stamp_list(headers)),
        ):
            if what:
                self._context.revoked[kind].discard(what)
                if self._context.state is not None:
                    self._context.state.discard(kind, what)
        return {"ok": "no longer revoked"}

    def _plan(self, signal: object, soft: object, term: object) -> Sequence[Step]:
        return steps(ladder_of(self._context, soft, term), signal_number(signal), clock.monotonic())

    def _revoke(self, kind: By, what: list[str], plan: Sequence[Step]) -> list[str]:
        """Remember, and cancel what this worker holds; return the ids of the running that are ended."""
        self.remember(kind, what)
        return self._cancel(_picks(kind, frozenset(what)), plan)

    def known(self) -> dict[str, object]:
        """Return what is revoked, as ``hello`` tells it; ids are Celery's, the rest is ours."""
        now = clock.monotonic()
        kinds = {key: list(self._context.revoked[kind].ids(now)) for key, kind in _HELLO.items()}
        return {key: what for key, what in kinds.items() if what or key == "revoked"}

    def learn(self, told: Mapping[str, object]) -> int:
        """Take over what a neighbour tells in ``hello``, and drop what waits here; return how many."""
        learnt = 0
        for key, kind in _HELLO.items():
            what = told.get(key)
            # Up to Celery 5.6 a mapping of ids to times, since then a list.
            if isinstance(what, (list, dict)):
                fresh = [
                    each
                    for each in what
                    if isinstance(each, str)
                    and len(each) <= _LONGEST
                    and each not in self._context.revoked[kind]
                ]
                if fresh:
                    self._revoke(kind, fresh, ())
                learnt += len(fresh)
        return learnt

    def remember(self, kind: By, what: list[str]) -> None:
        """Let nothing of this run here from now on, nor after a restart."""
        self._context.revoked[kind].add(what, clock.monotonic())
        if self._context.state is not None and what:
            self._context.state.add(kind, what)

    def _cancel(self, picks: Callable[[Request], bool], plan: Sequence[Step]) -> list[str]:
        """Cancel what waits in the pool and, with a plan, what runs; return the ids of the running."""
        begun = {running.tag for running in self._context.pool.running()}
        ended = []
        for tag, request in list(self._context.requests.items()):
            if not picks(request):
                continue
            if not plan:
                self._context.pool.cancel(tag, 0)  # leaves alone what has begun
            elif self._escalation.begin(tag, request, plan) and tag in begun:
                ended.append(request.headers.id)
        return ended


#: Results that one request stores at once; results of more tasks come when the tasks do.
_MOST_ANSWERED = 1000
#: States of a task that no worker has begun, as far as anybody has said.
_NOT_BEGUN = frozenset({TaskState.PENDING.value, "RECEIVED", TaskState.RETRY.value, "REJECTED"})

#: Characters of an id, a name or a stamp that is remembered.
_LONGEST = 4096

#: Under which name ``hello`` has each kind.
_HELLO: Mapping[str, By] = {"revoked": By.ID, "revoked_names": By.NAME, "revoked_stamps": By.STAMP}


def _picks(kind: By, what: frozenset[str]) -> Callable[[Request], bool]:
    match kind:
        case By.ID:
            return lambda request: request.headers.id in what
        case By.NAME:
            return lambda request: request.headers.task in what
        case By.STAMP:
            return lambda request: not what.isdisjoint(stamps_of(request.headers))


def _revoked_all(kind: str, what: object, ended: list[str], *, terminate: bool) -> object:
    if not terminate:
        return {"ok": f"{kind} {what!r} flagged as revoked, but not terminated"}
    if not ended:
        return {"ok": f"{kind} {what!r} were not terminated"}
    return {"ok": f"{kind} {what!r} revoked, terminated: {', '.join(ended)}"}


def id_list(ids: object) -> list[str]:
    """Return one text or a list of texts as a list.  Raises ``ValueError`` for others, and huge ones."""
    if isinstance(ids, str):
        ids = [ids]
    if not isinstance(ids, Iterable) or isinstance(ids, Mapping):
        raise ValueError(f"task ids and names are text or a list of texts, not {ids!r}")
    found = [str(each) for each in ids]
    if any(len(each) > _LONGEST for each in found):  # for they are remembered
        raise ValueError(f"task ids, names and stamps of more than {_LONGEST} characters are not remembered")
    return found


def stamp_list(headers: object) -> list[str]:
    """Return stamps given as ``{header: value or values}`` or ``["header=value"]``.

    Raises: ``ValueError`` for anything else, such as a text without ``=``.
    """
    if isinstance(headers, Mapping):
        return id_list(
            stamp_text(str(name), each)
            for name, value in headers.items()
            for each in (value if isinstance(value, (list, tuple)) else [value])
        )
    stamps = id_list(headers)
    for stamp in stamps:
        if not stamp.partition("=")[1]:
            raise ValueError(f"{stamp!r} is not a stamped header; expected header=value")
    return stamps


def signal_number(name: object) -> int:
    """Return the number of a signal given as ``TERM``, ``SIGTERM``, a number, or None for TERM."""
    if name is None:
        return signals.SIGTERM
    if isinstance(name, int) and not isinstance(name, bool):
        return signals.Signals(name)
    text = str(name).upper()
    return signals.Signals[text if text.startswith("SIG") else f"SIG{text}"]
