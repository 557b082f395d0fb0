"""Functions of the user that are called around every task of an App, in the process that runs it.

The worker decides some ends: a process that died, a hard limit, a request to terminate.  It tells the hooks
of them on the next free slot, with the exception that the result has.

Order: ``before_task`` as registered, then the task; then ``on_failure`` or ``on_retry``, then
``after_task``, each kind in the reverse order, so that what was set up last is taken down first.
All see the same ``current_request``, and what they log names the task.

A hook that raises is logged and changes nothing, neither the task nor the other hooks.  The soft time
limit is the one exception that passes through ``before_task``: it was meant for the task.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from taskd.app.life_hooks import LifeHooks
from taskd.app.task_base import ErrorInfo, TaskBase, hears_ends, tell_end, tell_start
from taskd.base.errors import SoftTimeLimitExceeded, TaskdError
from taskd.sending.request import Request

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended.

    ``state``: SUCCESS, FAILURE, RETRY, IGNORED, REQUEUED, REJECTED or REVOKED.  ``text``: the repr of the
    value, or the exception in one line.  ``error``: the exception that the task raised, or that its worker
    gave it as its end.
    """

    state: str
    text: str
    traceback: str
    error: BaseException | None
    #: The value that the task returned, where it did.
    value: object = None


Before = TypeVar("Before", bound=Callable[[Request], None])
After = TypeVar("After", bound=Callable[[Request, Ended], None])


class Hooks(LifeHooks):
    """The hooks of one App.  Register them when the module is imported: ``@app.hooks.before_task``.

    Plain functions; in an asyncio worker they run in its loop, so they must not block there.
    """

    def __init__(self) -> None:
        super().__init__()
        self._before: list[Callable[[Request], None]] = []
        self._after: list[Callable[[Request, Ended], None]] = []
        self._failure: list[Callable[[Request, Ended], None]] = []
        self._retry: list[Callable[[Request, Ended], None]] = []
        self._bases: dict[str, Sequence[TaskBase]] = {}
        #: Whether there are any: without them a task costs nothing more.
        self.any = False

    @property
    def hear_ends(self) -> bool:
        """Whether any of them is called after a run that failed, or after any run."""
        bases = (base for each in self._bases.values() for base in each)
        return bool(self._after or self._failure) or any(map(hears_ends, bases))

    def add_bases(self, task: str, bases: Sequence[TaskBase]) -> None:
        """Call the handlers of these for a task, the outermost first.  For ``app.task``."""
        self._bases[task] = bases
        self.any = True

    def before_task(self, hook: Before) -> Before:
        """Call ``hook(request)`` before each run of a task, after STARTED is stored."""
        self._before.append(hook)
        self.any = True
        return hook

    def after_task(self, hook: After) -> After:
        """Call ``hook(request, ended)`` after each run, whatever its end."""
        self._after.insert(0, hook)
        self.any = True
        return hook

    def on_failure(self, hook: After) -> After:
        """Call ``hook(request, ended)`` after a run that is a FAILURE for good, whoever decided that."""
        self._failure.insert(0, hook)
        self.any = True
        return hook

    def on_retry(self, hook: After) -> After:
        """Call ``hook(request, ended)`` after a run that will be retried."""
        self._retry.insert(0, hook)
        self.any = True
        return hook

    def run_before(self, request: Request) -> None:
        """Call the hooks before a run.  For the executor.

        Raises: ``SoftTimeLimitExceeded``, and anything that ``before_start`` of a base raises.
        """
        for hook in self._before:
            try:
                hook(request)
            except SoftTimeLimitExceeded:
                raise
            except BaseException:  # noqa: BLE001 - the user's function
                _log(hook, request)
        if self._bases:
            tell_start(self._bases.get(request.task, ()), request)

    def run_after(self, request: Request, ended: Ended) -> None:
        """Call the hooks after a run.  For the executor; raises nothing."""
        if self._bases:
            raised = ended.error
            if raised is None and ended.state == "FAILURE":  # its value cannot be stored
                raised = TaskdError(ended.text)
            error = None if raised is None else ErrorInfo(raised, ended.traceback)
            tell_end(self._bases.get(request.task, ()), request, ended.state, ended.value, error)
        special = {"FAILURE": self._failure, "RETRY": self._retry}.get(ended.state, ())
        _call(special, request, ended)
        _call(self._after, request, ended)


def _call(hooks: Iterable[Callable[[Request, Ended], None]], request: Request, ended: Ended) -> None:
    for hook in hooks:
        try:
            hook(request, ended)
        except BaseException:  # noqa: BLE001 - the user's function
            _log(hook, request)


def _log(hook: Callable[..., None], request: Request) -> None:
    name = getattr(hook, "__qualname__", type(hook).__qualname__)
    logger.exception("task=%s id=%s hook %s failed; the task goes on", request.task, request.id, name)
