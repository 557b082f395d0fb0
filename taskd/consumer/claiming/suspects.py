"""Tasks during which a whole worker died.

Pure.  Its successor learns from the ledger what was running (``taskd.worker.ledger``); when one of these
messages comes again, the death is counted against it before it runs.  Deaths of single prefork children are
the pool's to tell.

All that ran are suspects, and one was the cause.  So a task in its last life (the next death would be the end
of it) runs while no other such task does.  That death then counts against one suspect alone, and the innocent
get through.  On prefork, where most deaths are those of single children, only the suspects of this worker
take turns.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from taskd.consumer.request import WorkerRequest
from taskd.pools.base import ChildLost
from taskd.protocol.delivery import Delivery
from taskd.protocol.ledger import key_of

#: How long a suspect waits in the broker while another one runs.
WAIT_S = 0.5


class Suspects:
    """The tasks that ran when the former process of this worker died; each counts once."""

    def __init__(self, keys: Iterable[bytes] = (), pid: int = 0, *, only_own: bool = False) -> None:
        """``only_own``: a task has to take turns only if it is one of ``keys``."""
        self._keys = set(keys)
        #: Suspects that have come again.
        self._counted: set[bytes] = set()
        self._among = len(self._keys)
        self._pid = pid
        self._only_own = only_own

    def __len__(self) -> int:
        return len(self._keys)

    def keys(self) -> Collection[bytes]:
        """Return the memory of suspects that have not come again."""
        return frozenset(self._keys)

    def take(self, delivery: Delivery, task_id: str) -> ChildLost | None:
        """Return the death that is to be counted against a message, the first time that it comes."""
        key = key_of(task_id)
        if key not in self._keys:
            return None
        self._keys.remove(key)
        self._counted.add(key)
        return ChildLost(
            delivery.tag,
            self._pid,
            started=True,
            exit_code=-1,
            signal=0,
            last_words=f"the whole worker process died while this task ran; running tasks: {self._among}",
        )

    def must_wait(self, request: WorkerRequest, held: Iterable[WorkerRequest], max_deaths: int) -> bool:
        """Return whether a message has to wait until another one of ``held`` has ended.

        Only in its last life, and only for another one in its last life: the next death is the end of both.
        """
        return self._takes_turns(request, max_deaths) and any(
            self._takes_turns(each, max_deaths) for each in held
        )

    def _takes_turns(self, request: WorkerRequest, max_deaths: int) -> bool:
        deaths = request.delivery.deaths
        if not deaths or deaths < max_deaths - 1:
            return False
        return not self._only_own or key_of(request.headers.id) in self._counted
