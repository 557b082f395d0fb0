"""Functions of the user that are called in the life of a worker and of the processes that run its tasks.

========================  =============================================  ==============  ================
hook                      called                                         on prefork in   else in
========================  =============================================  ==============  ================
``process_init(at)``      before the first task of a process, in order   each child      the worker
``worker_ready(at)``      once, when the worker consumes, in order       one child       the worker
``worker_stopping(at)``   when it takes nothing new any more, reversed   one child       the worker
``worker_stopped(at)``    when its last task has ended, reversed         one child       the worker
``process_shutdown(at)``  when the process ends in order, reversed       each child      the worker
========================  =============================================  ==============  ================

On prefork the worker's own process holds no user code, so the ``worker_`` hooks take a slot of the pool for a
moment.  All of one stage take at most ten seconds, and a cold end calls none of them.  The other pools run
tasks in the worker, which calls all hooks in its main thread: one that takes long keeps it from its work.

A hook that raises is logged and harms nothing, neither the worker nor the other hooks.  A process that is
killed calls none.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import TypeVar

from taskd.base import log

logger = logging.getLogger(__name__)


class Stage(Enum):
    """A moment in the life of a worker or of one of its processes."""

    PROCESS_INIT = "process_init"
    WORKER_READY = "worker_ready"
    WORKER_STOPPING = "worker_stopping"
    WORKER_STOPPED = "worker_stopped"
    PROCESS_SHUTDOWN = "process_shutdown"


#: The stages of the worker, which has none of the user's code where tasks run in children.
WORKER_STAGES = (Stage.WORKER_READY, Stage.WORKER_STOPPING, Stage.WORKER_STOPPED)
#: How long all hooks of one stage may take together, in a child.
STAGE_LIMIT_S = 10.0


def errand_of(stage: Stage) -> str:
    """Return the name by which a worker has the hooks of a stage called in a child."""
    return f"taskd.hook.{stage.value}"


_LAST_FIRST = {Stage.WORKER_STOPPING, Stage.WORKER_STOPPED, Stage.PROCESS_SHUTDOWN}


@dataclass(frozen=True, slots=True)
class HookPlace:
    """Where a hook is called: the node, such as ``mail-1@host``, and the process."""

    node_name: str
    pid: int


LifeHook = TypeVar("LifeHook", bound=Callable[[HookPlace], None])


class LifeHooks:
    """These hooks of one App.  Register them when the module is imported."""

    def __init__(self) -> None:
        self._stages: dict[Stage, list[Callable[[HookPlace], None]]] = {stage: [] for stage in Stage}

    def process_init(self, hook: LifeHook) -> LifeHook:
        """Call ``hook(place)`` in each process that runs tasks, before its first one."""
        return self._add(Stage.PROCESS_INIT, hook)

    def worker_ready(self, hook: LifeHook) -> LifeHook:
        """Call ``hook(place)`` once the worker consumes."""
        return self._add(Stage.WORKER_READY, hook)

    def worker_stopping(self, hook: LifeHook) -> LifeHook:
        """Call ``hook(place)`` when the worker begins to drain, or ends cold."""
        return self._add(Stage.WORKER_STOPPING, hook)

    def worker_stopped(self, hook: LifeHook) -> LifeHook:
        """Call ``hook(place)`` when nothing runs any more and everything is settled."""
        return self._add(Stage.WORKER_STOPPED, hook)

    def process_shutdown(self, hook: LifeHook) -> LifeHook:
        """Call ``hook(place)`` in each process that ran tasks, when it ends in order."""
        return self._add(Stage.PROCESS_SHUTDOWN, hook)

    def _add(self, stage: Stage, hook: LifeHook) -> LifeHook:
        hooks = self._stages[stage]
        hooks.insert(0 if stage in _LAST_FIRST else len(hooks), hook)
        return hook

    def has(self, stage: Stage) -> bool:
        """Return whether there is a hook for the stage."""
        return bool(self._stages[stage])

    def run_stage(self, stage: Stage, place: HookPlace) -> None:
        """Call the hooks of a stage.  For the worker; raises nothing."""
        for hook in self._stages[stage]:
            try:
                hook(place)
            except BaseException:
                log.bring_back()
                name = getattr(hook, "__qualname__", type(hook).__qualname__)
                logger.exception("%s hook %s failed; the worker goes on", stage.value, name)
        log.bring_back()
