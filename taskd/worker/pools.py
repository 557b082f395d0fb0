"""From ``pool`` in the file to a running pool, and what that reports until a consumer hears it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

import msgspec

from taskd.app.life_hooks import HookPlace, Stage
from taskd.base import log, log_level
from taskd.base.errors import ConfigError, StartError
from taskd.base.exit_codes import APP_BROKEN
from taskd.base.ids import node_of
from taskd.base.resolve import by_hand, failure_of
from taskd.config import transfer
from taskd.config.kinds import PoolTrait
from taskd.config.problems import nearest
from taskd.config.programs import WorkerConfig, slots
from taskd.config.schema import Config
from taskd.consumer.context import Context, Fatal
from taskd.consumer.running.obituaries import report_death
from taskd.host.safe_python import module_command
from taskd.pools.base import ChildEnd, Done, Outcome, Pool, Target
from taskd.pools.opening import AsyncTarget, ChildLimits, Children, OnReady, Work
from taskd.protocol.content import Accepted, accepted_by
from taskd.sending.options import TaskOptions
from taskd.worker.ledger import LEDGER_FD_VARIABLE, Ledger, open_ledger

if TYPE_CHECKING:
    from taskd.app.app import App

logger = logging.getLogger(__name__)


class AppImportError(StartError):
    """The user's code cannot be imported; ``detail`` is the traceback."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


class PoolEvents:
    """The reports of a pool, held until there is a consumer to hear them."""

    def __init__(self) -> None:
        self.tasks: dict[str, TaskOptions] = {}
        #: Names of tasks to which the configuration gives a rate limit.
        self.limited: Collection[str] = ()
        self._context: Context | None = None
        self._take: Callable[[Sequence[Outcome]], None] | None = None
        self._fatal: Fatal | None = None
        #: The running tasks; None without a supervisor, which keeps them.
        self.ledger: Ledger | None = None
        #: Notes that a task has ended with the child that ran it.
        self.forget: Callable[[str], None] = _nothing_to_forget
        #: Of the pools that run tasks in the worker itself: the hooks of the user.
        self.run_stage: Callable[[Stage], None] = _no_hooks
        #: Changes the log level wherever tasks run.
        self.set_log_level: Callable[[str], None] = log.set_level

    def attach(self, context: Context, take: Callable[[Sequence[Outcome]], None]) -> None:
        """From now on tell the consumer; earlier reports reach it at once."""
        self._context = context
        self._take = take
        context.tasks = self.tasks
        if self.ledger is not None:
            context.suspects = self.ledger.suspects
        if self._fatal is not None:
            context.end_by(self._fatal)

    def on_hello(self, blob: bytes) -> None:
        """Take the task table that the template sent."""
        for options in msgspec.json.decode(blob, type=list[TaskOptions]):
            self.tasks[options.name] = options
        logger.info("tasks=%d registered", len(self.tasks))
        self.warn_of_unknown(self.limited)

    def warn_of_unknown(self, limited: Iterable[str]) -> None:
        """Say which of the tasks that the configuration limits are none of this worker."""
        for name in [name for name in limited if name not in self.tasks]:
            hint = nearest(name, self.tasks)
            remedy = f', did you mean "{hint}"?' if hint else ""
            logger.warning('rate_limits: this worker has no task "%s"%s', name, remedy)

    def on_ready(self) -> None:
        """Note it; the event loop looks at ``pool.ready`` each turn and begins to claim."""
        logger.info("pool ready")

    def on_failed(self, reason: str, detail: str) -> None:
        """The user's code did not import, or the template cannot fork: this worker can do nothing."""
        self._fatal = Fatal(APP_BROKEN, reason, detail)
        if self._context is not None:
            self._context.end_by(self._fatal)

    def on_death(self, end: ChildEnd) -> None:
        """A process of the pool died: the supervisor keeps the evidence."""
        if self._context is not None:
            report_death(self._context, end)

    def on_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        """Pass outcomes on."""
        if self._context is not None:
            for outcome in outcomes:
                request = None if type(outcome) is Done else self._context.requests.get(outcome.tag)
                if request is not None:
                    self.forget(request.headers.id)
        if self._take is not None:
            self._take(outcomes)


def with_remedy(detail: str, path: str) -> str:
    """Return the detail of a failure to load, and how an operator meets the same failure by hand."""
    return "\n".join(each for each in (detail, f"by hand: {by_hand(path)}") if each)


def _nothing_to_forget(task_id: str) -> None:
    """Tasks that run in this process say themselves that they have ended."""


def _no_hooks(stage: Stage) -> None:
    """The worker's own process holds no user code."""


def app_path(worker: WorkerConfig, config: Config) -> str:
    """Return the task code of a worker: its own, or the file's.  Raises ``ConfigError`` for none."""
    path = worker.app or config.app
    if not path:
        raise ConfigError(f'worker "{worker.name}" has no app: set app = "package.module:attribute"')
    return path


def concurrency_bounds(worker: WorkerConfig) -> tuple[int, int]:
    """Return the fewest and the most slots; they are the same for a pool of fixed size."""
    most = slots(worker)
    return min(worker.min_concurrency, most) or most, most


def make_pool(worker: WorkerConfig, config: Config, own_name: str, events: PoolEvents) -> Pool:
    """Return the pool, not started.  ``own_name``: ``mail-1@host``, as in the log, whatever ``node`` says.

    Pools that run tasks in this process import the user's code here and raise what it raises.
    """
    events.limited = tuple(worker.rate_limits)
    capacity, most = concurrency_bounds(worker)  # with room to grow it begins with the fewest
    path = app_path(worker, config)
    # Twice as many slots as tasks at once: those that were given up keep theirs, and children have heirs.
    events.ledger = open_ledger(2 * most)
    node_name = node_of(own_name.partition("@")[0], worker.node)
    kind = worker.kind
    opener = cast("Callable[[int, Work | Children, OnReady], Pool]", kind.load(kind.opener))
    if PoolTrait.CHILDREN in kind.traits:
        children = _children(worker, config, [own_name, node_name, path, worker.name], events)
        return opener(capacity, children, events.on_ready)
    from taskd.execution.native.loading import load_app, task_table

    try:
        app = load_app(path, worker.name, worker.directory)
    except Exception as error:
        # Any exception of the user's module at import is this one failure, with its traceback.
        reason, detail = failure_of(error)
        detail = with_remedy(detail, path)
        raise AppImportError(f"the task code did not load: {reason}", detail) from error
    app.bind_config(config)
    events.on_hello(msgspec.json.encode(task_table(app)))
    events.run_stage = partial(app.hooks.run_stage, place=HookPlace(node_name, os.getpid()))
    events.run_stage(Stage.PROCESS_INIT)
    work = _Work(app, node_name, events.ledger, accepted_by(config.accept_content))
    return opener(capacity, work, events.on_ready)


def _children(worker: WorkerConfig, config: Config, arguments: Sequence[str], events: PoolEvents) -> Children:
    # Kept open for the life of the pool: a template that dies is replaced by one that reads it anew.
    config_fd = transfer.into_descriptor(config)
    level_fd, level = log_level.create()
    events.set_log_level = level.set
    passed = {transfer.CONFIG_FD_VARIABLE: config_fd, log_level.LEVEL_FD_VARIABLE: level_fd}
    if events.ledger is not None:
        events.forget = events.ledger.forget
        passed[LEDGER_FD_VARIABLE] = events.ledger.fd
    return Children(
        command=module_command("taskd.worker.template", *arguments),
        environment={**os.environ, **{name: str(fd) for name, fd in passed.items()}},
        pass_fds=tuple(passed.values()),
        title=arguments[0],
        preload=worker.preload,
        limits=ChildLimits(
            max_tasks=worker.max_tasks_per_child,
            max_bytes=worker.max_memory_per_child,
            max_age_s=worker.max_age_per_child,
            proportional=worker.memory_measure == "pss",
        ),
        on_hello=events.on_hello,
        on_failed=lambda reason, detail: events.on_failed(reason, with_remedy(detail, arguments[1])),
        on_death=events.on_death,
    )


class _Work:
    """``Work`` over an app that was imported into this process."""

    def __init__(self, app: App, node_name: str, ledger: Ledger | None, accepted: Accepted) -> None:
        from taskd.execution.native.execute import Executor

        self._executor = partial(Executor, app, node_name, ledger=ledger, accepted=accepted)

    def blocking(self) -> Target:
        return self._executor()

    def green(self) -> Target:
        from taskd.execution.native.shared_loop import SharedLoop

        return self._executor(wait=SharedLoop().run)

    def awaitable(self) -> AsyncTarget:
        return self._executor().acall
