"""The options of Celery's tasks that a worker's parent must know."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from celery.app.routes import MapRoute
from celery.utils.time import rate

from taskd.sending.forms import Acks
from taskd.sending.options import TaskOptions


def options_of(app: Any) -> Iterable[TaskOptions]:
    """Return the options of each task, those of Celery's own tasks included."""
    has_rates = not app.conf.worker_disable_rate_limits
    for name, task in app.tasks.items():
        yield TaskOptions(
            name=name,
            queue=_queue_of(app, name, task),
            acks=Acks.LATE if task.acks_late else Acks.EARLY,
            ignore_result=bool(task.ignore_result),
            # Before 5.7 a task does not take these from the settings: the worker of Celery reads both.
            soft_time_limit=float(task.soft_time_limit or app.conf.task_soft_time_limit or 0.0),
            time_limit=float(task.time_limit or app.conf.task_time_limit or 0.0),
            rate_limit=float(rate(task.rate_limit)) if has_rates else 0.0,
            send_events=bool(task.send_events),
            # No option of Celery's: its tasks take any keyword as an attribute.
            keep_failures=bool(getattr(task, "keep_failures", True)),
            again_when_lost=bool(task.reject_on_worker_lost or getattr(task, "retry_on_worker_lost", False)),
            again_when_timed_out=not _acks_on(task, "timeout"),
            dead_when_failed=not _acks_on(task, "failure"),
        )


def _queue_of(app: Any, name: str, task: Any) -> str:
    """Return the queue of a task as it is written down: by itself, or by ``task_routes``.

    A router of the user's code is called at a send alone, as in Celery; a start must not wait for it.
    """
    queue = getattr(task, "queue", None)
    for router in () if queue else app.amqp.router.routes:
        if not isinstance(router, MapRoute):
            break  # it may answer before those behind it
        if route := router(name):
            queue = route.get("queue")
            break
    return str(getattr(queue, "name", queue) or app.conf.task_default_queue)


def _acks_on(task: Any, end: str) -> bool:
    """Read an option that Celery has split in two with 5.7."""
    both = task.acks_on_failure_or_timeout
    own = getattr(task, f"acks_on_{end}", both)
    return bool(both if own is None else own)
