"""Base classes of tasks, put beside the task: ``@app.task(base=Audited)``.

They have the words of Celery's base classes, so that the body of one can be carried over: ``__call__`` around
each run, and the handlers.  The task itself is ``self.task``; an object is made of each class for each task.
Several classes may be given: the first is the outermost.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskd.app.bound import BoundTask
from taskd.sending.request import Request

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """The exception of a run with its traceback, as Celery's handlers get it."""

    exception: BaseException | None
    traceback: str

    @property
    def type(self) -> type[BaseException] | None:
        """The class of the exception."""
        return None if self.exception is None else type(self.exception)

    def __str__(self) -> str:
        """Return the traceback."""
        return self.traceback


class TaskBase:
    """Derive from it.  Plain methods: in an asyncio worker they run in its loop and must not block there.

    A handler that raises is logged and changes nothing, ``before_start`` apart: there it fails the run.
    """

    def __init__(self, task: BoundTask, run: Callable[..., Any]) -> None:
        """``run`` is the task's function, or the next base within this one.  An override calls this."""
        self.task = task
        #: Goes on with the run; of an ``async def`` task it returns the coroutine.
        self.run = run

    @property
    def name(self) -> str:
        """The name of the task."""
        return self.task.name

    @property
    def request(self) -> Request:
        """The request that runs now."""
        return self.task.request

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the task: also for a direct call."""
        return self.run(*args, **kwargs)

    def before_start(self, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]) -> None:
        """Hear that a run begins, after STARTED is stored."""

    def on_success(
        self, retval: object, task_id: str, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> None:
        """Hear that a run succeeded."""

    def on_retry(
        self,
        exc: BaseException | None,
        task_id: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        einfo: ErrorInfo,
    ) -> None:
        """Hear that a run will be retried, for ``exc``."""

    def on_failure(
        self,
        exc: BaseException | None,
        task_id: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        einfo: ErrorInfo,
    ) -> None:
        """Hear that a run failed for good, whoever decided that."""

    def after_return(  # noqa: PLR0917 - the order of Celery's
        self,
        status: str,
        retval: object,
        task_id: str,
        args: Sequence[object],
        kwargs: Mapping[str, object],
        einfo: ErrorInfo | None,
    ) -> None:
        """Hear of any end but a retry.  ``retval``: the exception, where there is one."""


#: One class, or several from the outermost on.
Bases = type[TaskBase] | Sequence[type[TaskBase]]


def bases_of(base: object) -> Sequence[type[TaskBase]]:
    """Return the classes that ``base`` names.  Raises: ``TypeError`` for anything else."""
    classes = base if isinstance(base, (list, tuple)) else (base,)
    for each in classes:
        if not (isinstance(each, type) and issubclass(each, TaskBase)):
            raise TypeError(f"base takes classes that derive from taskd.TaskBase, not {each!r}")
    return tuple(classes)


def wrap(task: BoundTask, classes: Sequence[type[TaskBase]]) -> Sequence[TaskBase]:
    """Put bases around the run of a task, the first outermost, and return them in that order."""
    made: list[TaskBase] = []
    for each in reversed(classes):
        base = each(task, task.run)
        task.run = base.__call__
        made.insert(0, base)
    return made


def hears_ends(base: TaskBase) -> bool:
    """Return whether a base has a handler for the ends that a worker decides."""
    kind = type(base)
    return kind.on_failure is not TaskBase.on_failure or kind.after_return is not TaskBase.after_return


def tell_start(bases: Sequence[TaskBase], request: Request) -> None:
    """Call the handlers before a run, the outermost first.  Raises whatever they raise."""
    for base in bases:
        base.before_start(request.id, request.args, request.kwargs)


def tell_end(
    bases: Sequence[TaskBase],
    request: Request,
    state: str,
    value: object,
    error: ErrorInfo | None,
) -> None:
    """Call the handlers after a run, the innermost first; raises nothing."""
    about = (request.id, request.args, request.kwargs)
    for base in reversed(bases):
        try:
            match state:
                case "SUCCESS":
                    base.on_success(value, *about)
                case "RETRY" if error is not None:
                    base.on_retry(error.exception, *about, error)
                case "FAILURE" if error is not None:
                    base.on_failure(error.exception, *about, error)
            if state != "RETRY":
                base.after_return(state, error.exception if error else value, *about, error)
        except BaseException:
            name = type(base).__qualname__
            logger.exception("task=%s id=%s a handler of %s failed", request.task, request.id, name)
