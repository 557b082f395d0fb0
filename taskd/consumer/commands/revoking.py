"""The remote-control commands that keep tasks from running: by id, by name, by stamped header.

With ``terminate`` those that run are ended step by step (``escalating``): asked by
``SoftTimeLimitExceeded`` for ``soft`` seconds, then the signal, and KILL ``term`` seconds after it.
A revocation is remembered for three hours, over restarts too, and is lifted by ``unrevoke``.
"""

from __future__ import annotations

import logging
import signal as signals
from collections.abc import Iterable, Mapping, Sequence

from taskd.base import clock
from taskd.base.errors import TaskdError
from taskd.base.loop import Loop
from taskd.consumer.commands.escalating import Escalation, EscalationStep, ladder_of, steps
from taskd.consumer.live_config import LiveConfig
from taskd.consumer.running.revoked_tasks import LONGEST, RevokedTasks
from taskd.consumer.running.work import Work
from taskd.results import in_advance
from taskd.results.base import ResultStore
from taskd.revocations.known import By, stamp_text

logger = logging.getLogger(__name__)


class Revoking:
    """The commands of one worker that change what is revoked."""

    def __init__(
        self, loop: Loop, live: LiveConfig, work: Work, revoked: RevokedTasks, results: ResultStore
    ) -> None:
        self._live = live
        self._work = work
        self._revoked = revoked
        self._results = results
        self._escalation = Escalation(loop, work)

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
        held = {request.headers.id for request in self._work.requests.values()}
        waiting = [task_id for task_id in ids if task_id not in held][:_MOST_ANSWERED]
        try:
            in_advance.tell(self._results, waiting, now=clock.now(), keep_s=self._live.config.result_expires)
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
        ids = id_list(task_id)
        self._revoked.discard(By.ID, ids)
        self._revoked.discard(By.NAME, id_list(task_name))
        self._revoked.discard(By.STAMP, stamp_list(headers))
        try:
            in_advance.take_back(self._results, ids[:_MOST_ANSWERED])
        except TaskdError as error:
            logger.warning("unrevoked=%d the results cannot say so yet: %s", len(ids), error)
        return {"ok": "no longer revoked"}

    def _plan(self, signal: object, soft: object, term: object) -> Sequence[EscalationStep]:
        ladder = ladder_of(self._live.worker, soft, term)
        return steps(ladder, signal_number(signal), clock.monotonic())

    def _revoke(self, kind: By, what: list[str], plan: Sequence[EscalationStep]) -> list[str]:
        """Remember, and cancel what this worker holds; return the ids of the running that are ended."""
        self._revoked.remember(kind, what)
        pool = self._work.pool
        begun = {running.tag for running in pool.running()}
        ended = []
        for tag, request in self._revoked.held(kind, what).items():
            if not plan:
                pool.cancel(tag, 0)  # leaves alone what has begun
            elif self._escalation.begin(tag, request, plan) and tag in begun:
                ended.append(request.headers.id)
        return ended


#: Results that one request stores at once; results of more tasks come when the tasks do.
_MOST_ANSWERED = 1000


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
    if any(len(each) > LONGEST for each in found):  # for they are remembered
        raise ValueError(f"task ids, names and stamps of more than {LONGEST} characters are not remembered")
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
