"""The start of a worker and of its processes, in Celery's order: imports, signals, tracers.

An extension such as the Django fixup hangs on these signals, and reads a worker from their sender.
"""

from __future__ import annotations

import os
from multiprocessing.util import _run_after_forkers  # type: ignore[attr-defined]  # what billiard's children call
from typing import Any

from celery import signals
from celery._state import _set_task_join_will_block, set_default_app
from celery.app import trace
from celery.worker.state import reset_state

from taskd.base.errors import StartError
from taskd.execution.celery.log_signals import announce_logging, settle_root

_started: list[object] = []


class WorkerStandIn:
    """The sender of signals in the place of Celery's worker and its consumer: as much of them as can be.

    Receivers keep it in weak tables, so it has an identity and a hash.
    """

    def __init__(self, app: Any, hostname: str, pool: str) -> None:
        self.app = app
        self.hostname = hostname
        #: Where Celery has a class or its path; the fixup of Django looks for "prefork" in it.
        self.pool_cls = f"taskd.pools.{pool}"
        self.pid = os.getpid()

    @property
    def controller(self) -> WorkerStandIn:
        """The worker, for receivers to whom Celery hands its consumer."""
        return self


def start_worker(app: Any, worker: WorkerStandIn) -> None:
    """Import the app's tasks and tell its receivers of the worker.  In the template, or in the worker.

    Raises: ``StartError`` for a second app in this process; and whatever the app's modules raise.
    """
    if _started and _started[0] is not app:
        raise StartError(
            f"Celery app {app!r} cannot run beside {_started[0]!r}: Celery has one app for all tasks of a "
            "process; give each app a worker of its own"
        )
    _started[:] = [app]
    hostname = worker.hostname
    app.loader.init_worker()
    # Before the app is finalized, which logs each task's signature.
    settle_root(app)
    trace.setup_worker_optimizations(app, hostname)
    signals.celeryd_init.send(sender=hostname, instance=worker, conf=app.conf, options={})
    signals.worker_init.send(sender=worker)
    announce_logging(app)
    # Once more, as Celery does: receivers may have added tasks.
    trace.setup_worker_optimizations(app, hostname)
    signals.celeryd_after_setup.send(sender=hostname, instance=worker, conf=app.conf)


def start_process(app: Any, hostname: str, *, is_child: bool) -> None:
    """Make this process ready for the app's tasks: ``is_child``, after its fork."""
    if is_child:
        # Connections of the app, of kombu and of result stores belong to the process that made them.
        _run_after_forkers()
    _set_task_join_will_block(True)
    app.loader.init_worker_process()
    app.set_current()
    set_default_app(app)
    app.finalize()
    build_tracers(app, hostname)
    reset_state()
    signals.worker_process_init.send(sender=hostname)


def build_tracers(app: Any, hostname: str) -> None:
    """Give each task its tracer, by the function that stands in Celery's module now.

    Integrations such as Sentry's and New Relic's put their own in its place.
    """
    for name, task in app.tasks.items():
        task.__trace__ = trace.build_tracer(name, task, app.loader, hostname, app=app)
