"""A task as it sees itself while it runs: its name, its options, its request, and the ways to end a run.

A task with ``bind=True`` gets it as its first argument.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from types import MethodType
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    Protocol,
    TypeVar,
    overload,
)

from taskd.app.control_flow import Replaced, Retry
from taskd.app.replacing import add_part
from taskd.app.retrying import changes_of
from taskd.protocol.exceptions import MaxRetriesExceededError
from taskd.sending import request as requests
from taskd.sending.calls import Call
from taskd.sending.connections import Connections
from taskd.sending.options import SendOptions, TaskSettings
from taskd.sending.request import Request, direct_request
from taskd.sending.result import AsyncResult
from taskd.sending.states import store_state

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from typing_extensions import Unpack

R = TypeVar("R")


class Sending(Protocol):
    """The App, as its tasks see it; a task needs no more of it."""

    @property
    def connections(self) -> Connections:
        """The broker and the results."""

    def send_task(
        self,
        name: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[object]:
        """Send a task by name."""

    def send_many(self, calls: Iterable[Call[R]]) -> list[AsyncResult[R]]:
        """Send calls, many in each write."""

    def result(self, task_id: str) -> AsyncResult[object]:
        """Return the result of a task that was sent elsewhere."""


class BoundTask:
    """A registered task, as it sees itself: its name, its options, the request it runs for."""

    def __init__(
        self, app: Sending, function: Callable[..., Any], settings: TaskSettings, *, bind: bool
    ) -> None:
        self.app = app
        self.settings = settings
        self.name = settings.name
        #: Runs the task in this thread; the executor calls it.
        self.run: Callable[..., Any] = MethodType(function, self) if bind else function
        # inspect.signature, help() and doctest look at these.
        self.__wrapped__ = self.run
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__
        self.__name__ = getattr(function, "__name__", settings.name)
        self.__qualname__ = getattr(function, "__qualname__", settings.name)

    def __repr__(self) -> str:
        """Return the class and the name."""
        return f"<{type(self).__name__} {self.name}>"

    def __reduce__(self) -> str:
        """Pickle and copy it as what it stands for, a function of a module: by name."""
        return self.__qualname__

    @property
    def request(self) -> Request:
        """The request that runs now in this thread or coroutine; an empty one in a direct call."""
        running = requests.current.get()
        # Another task that calls this one as a function lends it no message to retry.
        if running is None or running.task != self.name:
            return direct_request(self.name)
        return running

    @property
    def max_retries(self) -> int | None:
        """How often it may be retried; None: any number.  A new value counts for this process from now on."""
        own = self.request.message.taskd_max_retries
        return self.settings.max_retries if own is None else own

    @max_retries.setter
    def max_retries(self, value: int | None) -> None:
        self.settings = replace(self.settings, max_retries=value)

    def AsyncResult(self, task_id: str) -> AsyncResult[Any]:
        """Return the result of a task by its id."""
        return AsyncResult(task_id, self.app.connections)

    @overload
    def retry(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        exc: BaseException | None = None,
        throw: Literal[True] = True,
        eta: datetime | None = None,
        countdown: float | timedelta | None = None,
        max_retries: int | None = None,
        **options: object,
    ) -> NoReturn: ...
    @overload
    def retry(
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        exc: BaseException | None = None,
        *,
        throw: bool,
        eta: datetime | None = None,
        countdown: float | timedelta | None = None,
        max_retries: int | None = None,
        **options: object,
    ) -> Retry: ...
    def retry(  # noqa: PLR0917 - the order of Celery's
        self,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        exc: BaseException | None = None,
        throw: bool = True,
        eta: datetime | None = None,
        countdown: float | timedelta | None = None,
        max_retries: int | None = None,
        **options: object,
    ) -> Retry:
        """End this run and have the task run again under the same id.

        Without ``countdown`` (seconds) and ``eta`` it waits ``retry_delay``.  ``exc`` defaults to the
        exception being handled.  ``args`` and ``kwargs`` take the place of the present ones.  ``max_retries``
        None: as many as the task may have.  ``options``: ``queue``, ``priority``, ``expires``, ``headers``,
        ``ignore_result``, ``time_limit`` and ``soft_time_limit`` of the next run.  With ``throw=False`` the
        exception is returned, this run ends as it does, and the next follows all the same.

        Raises: ``Retry``, always, unless no retry is left or there is no message (a direct call):
        then ``exc``, or ``MaxRetriesExceededError`` without one.
        """
        cause = exc if exc is not None else sys.exc_info()[1]
        request = self.request
        if request.called_directly or self.retries_are_used_up(request, max_retries):
            if cause is not None:
                raise cause
            raise MaxRetriesExceededError(
                f"task {self.name} with id {request.id or 'none'} has no retry left after {request.retries}"
            )
        changes_of(self.name, request, options)  # an option that cannot be is an error of this run
        retry = Retry(
            cause,
            countdown=countdown,
            eta=eta,
            max_retries=max_retries,
            args=args,
            kwargs=kwargs,
            options=options,
        )
        if throw:
            raise retry from cause
        request.retry_beside = retry
        return retry

    def replace(self, call: Call[Any] | Mapping[str, object]) -> NoReturn:
        """End this run and let another task, or a canvas of Celery's, take its place and its id.

        ``call``: ``task.s(…)``, or any signature as Celery writes it, a chain, group or chord too.
        Raises: ``Replaced``, always; ``ValueError`` in a direct call, where there is nothing to replace.
        """
        if self.request.called_directly:
            raise ValueError(f'task "{self.name}" was called as a function: there is no message to replace')
        raise Replaced(call.signature() if isinstance(call, Call) else call)

    def add_to_chord(self, call: Call[Any] | Mapping[str, object]) -> None:
        """Send one more part of the chord that the running task is a part of; its body waits for it too.

        ``call``: as of ``replace``.  Blocks for two writes.  A task that runs again adds it again.
        Raises: ``ValueError`` when the task is not a part of a chord, ``ProtocolError`` when ``call`` is
        not a signature, ``BackendError``.
        """
        add_part(self.app.connections, call.signature() if isinstance(call, Call) else call, self.request)

    def update_state(self, task_id: str | None = None, state: str | None = None, meta: object = None) -> None:
        """Show how far the running task is: ``AsyncResult.state`` and ``.info`` return both at once.

        ``state`` None is PROGRESS.  ``task_id``: another task than the running one, of which it is said.
        Blocks for one write to the result store; an ``async def`` task awaits
        ``asyncio.to_thread(self.update_state, meta=...)``.  Does nothing in a direct call, with
        ``ignore_result``, and when results are switched off.

        Raises: ``ValueError`` for a state that the worker alone may store (SUCCESS and its like),
        ``SerializationError`` for a ``meta`` that JSON cannot represent, ``StorageError``.
        """
        store_state(self.app.connections, self.request, "PROGRESS" if state is None else state, meta, task_id)

    def send_event(self, event_type: str, **fields: object) -> None:
        """Tell monitors something about the running task: ``self.send_event("task-progress", done=3)``.

        Blocks for one write to the broker while somebody listens; an ``async def`` task awaits
        ``asyncio.to_thread(self.send_event, ...)``.  Nothing is told in a direct call, with
        ``send_events=False``, or when the broker is away.

        Raises: ``ValueError`` for a type or field that is taskd's to say, ``SerializationError``.
        """
        request = self.request
        if self.settings.send_events and not request.called_directly:
            self.app.connections.news().tell(event_type, request.hostname, request.id, fields)

    def retries_are_used_up(self, request: Request, max_retries: int | None = None) -> bool:
        """Return whether the request may not be retried again; the nearest limit given counts."""
        limit = max_retries
        if limit is None:
            limit = request.message.taskd_max_retries
        if limit is None:
            limit = self.settings.max_retries
        return limit is not None and request.retries >= limit
