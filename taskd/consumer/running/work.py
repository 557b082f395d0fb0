"""The work in hand of one worker: its pool, and the tasks and errands in it.

It outlives a lost broker.  Claiming puts requests in and outcomes take them out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from taskd.consumer.request import WorkerRequest
from taskd.consumer.running.errands import Errands
from taskd.pools.base import Pool
from taskd.sending.options import TaskOptions


@dataclass(slots=True)
class AppNeeds:
    """The app's wishes for ends that the worker decides, and its face, as the pool's hello tells them."""

    #: It stores results, counts chords and calls errbacks by itself.
    answers: bool = False
    #: It has hooks that are to hear of them.
    hears_ends: bool = False
    #: Its own settings and its software, for remote control.
    settings: Mapping[str, object] = field(default_factory=dict)
    software: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """The pool and what is in it.  For the loop's thread."""

    pool: Pool
    #: The tasks that the app has, by name: the pool tells them when the task code is loaded.
    tasks: dict[str, TaskOptions]
    #: The tasks in the pool, by tag.
    requests: dict[int, WorkerRequest]
    errands: Errands = field(repr=False)
    needs: AppNeeds

    @classmethod
    def of(cls, pool: Pool, tasks: dict[str, TaskOptions]) -> Work:
        """Return the empty hands of a worker with this pool."""
        return cls(pool, tasks, {}, Errands(pool), AppNeeds())

    def take_back(self) -> Sequence[WorkerRequest]:
        """Take back from the pool the tasks that it has not begun.

        Errands wait there again, behind none: no broker keeps them for another worker.
        """
        taken = []
        errands = []
        for tag in self.pool.recall():
            request = self.requests.pop(tag, None)
            if request is None:
                errands.append(tag)
            else:
                taken.append(request)
        self.errands.put_back(errands)
        return taken
