"""The App: the registry of tasks, and the client of broker and results.

Making one reads nothing and opens nothing.  So a module with ``app = App()`` can be imported anywhere: by a
worker before it has forked, by a test, by a web server.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, Protocol, TypeVar, cast, overload

from taskd.app.bound import BoundTask
from taskd.app.collecting_app import Collecting
from taskd.app.foreign import refuse_task
from taskd.app.hooks import Hooks
from taskd.app.naming import default_name
from taskd.app.periodic import Entries, EntryOptions
from taskd.app.task import CoroutineTask, Task
from taskd.app.task_base import Bases, bases_of, wrap
from taskd.config.schema import Config
from taskd.protocol.commands import BY_NAME, CommandKind, task_of
from taskd.sending import request as requests
from taskd.sending.calls import Call
from taskd.sending.checks import settings_from
from taskd.sending.connections import Connections
from taskd.sending.options import DeclareOptions, SendOptions, TaskSettings
from taskd.sending.request import Request
from taskd.sending.result import AsyncResult
from taskd.sending.revoking import revoke
from taskd.sending.send import send, send_many

if TYPE_CHECKING:
    from typing_extensions import Unpack

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., object])
T = TypeVar("T", bound=BoundTask)

_CO_COROUTINE = 0x80  # inspect.CO_COROUTINE, without importing inspect


class App(Collecting):
    """Tasks and the way to send them.  Safe to share between threads, and across a fork.

    The configuration is the file named by ``config``, else by TASKD_CONFIG, else ./taskd.toml (not for
    root), else /etc/taskd.toml.
    With ``broker`` (and ``results``) given as URLs no file is needed; relative files are then taken
    from the working directory.  ``sent_events`` outranks the file's.
    """

    def __init__(
        self,
        config: str | None = None,
        *,
        broker: str | None = None,
        results: str | None = None,
        sent_events: bool | None = None,
    ) -> None:
        self.connections = Connections(config, broker, results, sent_events)
        self._tasks: dict[str, BoundTask] = {}
        #: Entries that beat sends by itself; ``periodic`` and ``add_periodic`` add to them.
        self.entries = Entries()
        #: Functions to be called around every task.
        self.hooks = Hooks()

    @property
    def tasks(self) -> Mapping[str, BoundTask]:
        """The registered tasks by name."""
        return MappingProxyType(self._tasks)

    @property
    def config(self) -> Config:
        """The configuration in use; read on first use.  Raises: ``ConfigError``."""
        return self.connections.config

    def bind_config(self, config: Config) -> None:
        """Use this configuration from now on, whatever the constructor was told.  For workers."""
        self.connections.bind(config)

    @overload
    def task(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap]  # the more special one stands first
    @overload
    def task(self, function: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self, *, bind: Literal[True], base: Bases = (), **options: Unpack[DeclareOptions]
    ) -> BindingDecorator: ...
    @overload
    def task(
        self, *, bind: Literal[False] = False, base: Bases = (), **options: Unpack[DeclareOptions]
    ) -> Decorator: ...
    def task(
        self,
        *functions: Callable[..., Any],
        bind: bool = False,
        base: object = (),
        **options: Any,
    ) -> Any:
        """Make a task of a function: ``@app.task`` or ``@app.task(queue="mail", ...)``.

        ``DeclareOptions`` lists the options.  With ``bind=True`` the function's first argument is the
        task itself.  ``base`` names classes that derive from ``TaskBase``, the outermost first.
        Raises: ``ValueError`` or ``TypeError`` for options that cannot be meant, and for a name that
        another function has.
        """

        bases = bases_of(base)

        def register(function: Callable[..., Any]) -> BoundTask:
            if not callable(function):
                raise TypeError(
                    f"@app.task makes a task of a function, not of {function!r}; options are keywords"
                )
            if isinstance(function, type):
                raise TypeError(
                    f"@app.task makes a task of a function, not of the class {function.__name__}, whose "
                    f"instances no result could hold; decorate a function that uses it"
                )
            refuse_task(function)
            settings = settings_from(
                options.get("name") or default_name(function), cast("DeclareOptions", options)
            )
            code = getattr(function, "__code__", None)
            kind = CoroutineTask if code is not None and code.co_flags & _CO_COROUTINE else Task
            task: BoundTask = kind(self, function, settings, bind=bind)
            taken = self._tasks.setdefault(settings.name, task)
            if taken is not task:
                raise ValueError(
                    f'task name "{settings.name}" is taken by {taken.__module__}.{taken.__qualname__}; give '
                    f"{function.__module__}.{task.__qualname__} another one: @app.task(name=...)"
                )
            if bases:
                self.hooks.add_bases(settings.name, wrap(task, bases))
            return task

        return register(*functions) if functions else register

    def periodic(
        self, schedule: object, *args: object, entry: str = "", **options: Unpack[EntryOptions]
    ) -> Callable[[T], T]:
        """Have beat send a task by itself: ``@app.periodic(cron("0 3 * * *"))`` above ``@app.task``.

        ``schedule`` is one of ``every``, ``cron``, ``at`` and ``solar``, or Celery's.  The entry is named
        after the task, with dashes for dots, unless ``entry`` names it.  Raises: ``ConfigError``.
        """

        def register(task: T) -> T:
            self.entries.add(entry or task.name.replace(".", "-"), task, schedule, args, options)
            return task

        return register

    def add_periodic(
        self,
        entry: str,
        task: str | BoundTask,
        schedule: object,
        *args: object,
        **options: Unpack[EntryOptions],
    ) -> None:
        """Have beat send a task, also one that this app knows by name only.  Raises: ``ConfigError``."""
        known = self._tasks.get(task) if isinstance(task, str) else task
        self.entries.add(entry, known or str(task), schedule, args, options)

    def control_command(self, name: str = "", *, timeout: float = 5.0) -> Callable[[F], F]:
        """Make a remote-control command of a function: ``@app.control_command()``.

        ``taskctl control call NAME`` calls it, or Celery's ``app.control.broadcast``; it runs on a slot of
        each worker's pool.  Its return value, any JSON value, is the reply; an exception becomes
        ``{"error": ...}``.  ``name``: the function's, unless given.  ``timeout``: seconds until it is ended.
        Raises: ``ValueError`` for a name that is taken.
        """
        return self._command(CommandKind.CONTROL, name, timeout)

    def inspect_command(self, name: str = "", *, timeout: float = 5.0) -> Callable[[F], F]:
        """Do as ``control_command``, for one that only looks."""
        return self._command(CommandKind.INSPECT, name, timeout)

    def _command(self, kind: CommandKind, name: str, timeout: float) -> Callable[[F], F]:
        if callable(name):
            raise TypeError(f"write @app.{kind.value}_command() with parentheses")

        def register(function: F) -> F:
            word = name or getattr(function, "__name__", "")
            if not word.isidentifier() or word in BY_NAME:
                raise ValueError(
                    f'{kind.value}_command "{word}": the name is taken or not a word; choose another'
                )
            if not 0 < timeout < float("inf"):
                what = f"timeout is {timeout}; expected seconds above 0"
                raise ValueError(f'{kind.value}_command "{word}": {what}')
            self.task(name=task_of(kind, word), time_limit=timeout, max_retries=0)(function)
            return function

        return register

    def send_task(
        self,
        name: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[object]:
        """Send a task by name, for code that cannot import it.

        Options of the task apply only if this app has registered it.  Raises: as ``Task.apply_async``.
        """
        return send(self.connections, self._settings_of(name), args, kwargs or {}, options)

    def call(self, name: str, /, *args: object, **kwargs: object) -> Call[object]:
        """Return a call by name that is not sent yet, for ``send_many``."""
        return Call(self._settings_of(name), args, kwargs)

    def _settings_of(self, name: str) -> TaskSettings:
        known = self._tasks.get(name)
        return TaskSettings(name) if known is None else known.settings

    async def asend_task(
        self,
        name: str,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        **options: Unpack[SendOptions],
    ) -> AsyncResult[object]:
        """``send_task`` without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.send_task, name, args, kwargs, **options)

    def send_many(self, calls: Iterable[Call[R]]) -> list[AsyncResult[R]]:
        """Send calls, 256 of them in each write; each write is all or none.

        When it raises, the writes before the failed one stand.  Raises: as ``Task.apply_async``.
        """
        return send_many(self.connections, calls)

    async def asend_many(self, calls: Iterable[Call[R]]) -> list[AsyncResult[R]]:
        """``send_many`` without blocking the event loop."""
        import asyncio

        return await asyncio.to_thread(self.send_many, calls)

    def result(self, task_id: str) -> AsyncResult[object]:
        """Return the result of a task that was sent elsewhere."""
        return AsyncResult(task_id, self.connections)

    def revoke(
        self,
        tasks: str | AsyncResult[Any] | Iterable[str | AsyncResult[Any]],
        *,
        terminate: bool = False,
        signal: str | None = None,
    ) -> bool:
        """Keep tasks from running, given by id or result; return without waiting for the workers.

        Workers that are up are told; workers that start within three hours read it.  A message stays in the
        broker until its turn comes, and is dropped then.  A task that runs goes on, unless ``terminate``:
        then its worker ends it step by step, with ``signal`` ("TERM").

        Returns False when workers that start later do not know it, over RabbitMQ and other brokers of kombu:
        there only the workers that are up are told.
        Raises: ``ConfigError``, ``BackendError``; then it may not be revoked everywhere.
        """
        given = [tasks] if isinstance(tasks, (str, AsyncResult)) else tasks
        ids = [task if isinstance(task, str) else task.id for task in given]
        return revoke(self.connections, ids, terminate=terminate, signal=signal)

    @staticmethod
    def current_request() -> Request | None:
        """Return the request of the task that runs in this thread or coroutine, if one does."""
        return requests.current.get()

    def close(self) -> None:
        """Close the connections; the next send opens them again."""
        self.connections.close()


class Decorator(Protocol):
    """The decorator that ``app.task(...)`` returns."""

    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> CoroutineTask[P, R]: ...  # type: ignore[overload-overlap]  # the more special one stands first
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R]: ...


class BindingDecorator(Protocol):
    """The decorator that ``app.task(bind=True, ...)`` returns: callers do not pass the first parameter."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # the more special one stands first
        self, function: Callable[Concatenate[BoundTask, P], Coroutine[Any, Any, R]], /
    ) -> CoroutineTask[P, R]: ...
    @overload
    def __call__(self, function: Callable[Concatenate[BoundTask, P], R], /) -> Task[P, R]: ...
