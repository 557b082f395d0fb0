"""The end of a child, for libraries that have wrapped themselves around the end of Celery's pool processes.

Such a process ends in ``billiard.pool.Worker``.  Sentry sends what it holds after ``workloop``, New Relic
before ``_do_exit``: they put functions of their own in the place of these methods.  A child of taskd never
runs that class, so it has a worker without any work run both.  Functions registered with ``atexit`` since the
fork are called after that, as in a process that ends by itself; billiard calls none.
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable

from billiard.pool import Worker

from taskd.base import log
from taskd.execution.finding import exit_raises

logger = logging.getLogger(__name__)


class _NothingToTell(Exception):
    """Nobody listens to this worker: it need not wait until its last words are read."""


class _IdleWorker(Worker):  # type: ignore[misc]  # billiard has no types
    """A worker of billiard whose loop ends at once: it may run no job."""

    def __init__(self) -> None:
        self.maxtasks = 0
        self.max_memory_per_child = 0
        self.on_exit = None
        self.on_ready_counter = None
        self.inqW_fd = -1
        self.synqW_fd = -1
        self.wait_for_job = None
        self.wait_for_syn = None
        self.outq = self

    def put(self, _words: object) -> None:
        """Take the place of the pipe to a parent."""
        raise _NothingToTell


def leave_as_child(tell: Callable[[], object]) -> None:
    """Run what hangs on the end of a pool process of Celery's; ``tell`` sends the signal for it."""
    worker = _IdleWorker()
    pid = os.getpid()
    _try(lambda: worker.workloop(pid=pid))
    tell()
    _try(lambda: worker._do_exit(pid, 0))
    _try(atexit._run_exitfuncs)


def _try(step: Callable[[], object]) -> None:
    """Run one step; its failure is logged and harms no other."""
    try:
        with exit_raises():
            step()
    except (SystemExit, _NothingToTell):
        pass
    except BaseException:
        log.bring_back()
        logger.exception("the end of this process is not all that it should be")
