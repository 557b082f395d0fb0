"""From ``pool`` in the file to a pool, with the ways to its user code."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import cast

import msgspec

from taskd.app.life_hooks import Stage
from taskd.base import log, log_level
from taskd.base.errors import ConfigError, StartError
from taskd.base.ids import node_of
from taskd.base.resolve import failure_of, with_remedy
from taskd.config import transfer
from taskd.config.kinds import PoolTrait
from taskd.config.programs import WorkerConfig
from taskd.config.schema import Config
from taskd.execution.ledger import Ledger
from taskd.host.safe_python import module_command
from taskd.pools.base import Pool
from taskd.pools.opening import ChildLimits, Children, OnReady, TargetForms
from taskd.protocol.ledger import LEDGER_FD_VARIABLE
from taskd.worker.pool_events import PoolEvents
from taskd.worker.program import concurrency_bounds


class AppImportError(StartError):
    """The user's code cannot be imported; ``detail`` is the traceback."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class MadePool:
    """A pool that is not started, and the ways to its user code that a worker needs."""

    pool: Pool
    #: Calls the user's hooks, where tasks run in the worker's own process.
    run_stage: Callable[[Stage], None]
    #: Changes the log level wherever tasks run.
    set_log_level: Callable[[str], None]


def _no_hooks(stage: Stage) -> None:
    """The worker's own process holds no user code."""


def app_path(worker: WorkerConfig, config: Config) -> str:
    """Return the task code of a worker: its own, or the file's.  Raises ``ConfigError`` for none."""
    path = worker.app or config.app
    if not path:
        raise ConfigError(f'worker "{worker.name}" has no app: set app = "package.module:attribute"')
    return path


def make_pool(
    worker: WorkerConfig, config: Config, own_name: str, events: PoolEvents, ledger: Ledger | None
) -> MadePool:
    """Return the pool, not started.  ``own_name``: ``mail-1@host``, as in the log, whatever ``node`` says.

    Pools that run tasks in this process import the user's code here and raise what it raises.
    """
    capacity, _ = concurrency_bounds(worker)  # with room to grow it begins with the fewest
    path = app_path(worker, config)
    node_name = node_of(own_name.partition("@")[0], worker.node)
    kind = worker.kind
    opener = cast("Callable[[int, TargetForms | Children, OnReady], Pool]", kind.load(kind.opener))
    if PoolTrait.CHILDREN in kind.traits:
        level_fd, level = log_level.create()
        passed = {log_level.LEVEL_FD_VARIABLE: level_fd}
        if ledger is not None:
            passed[LEDGER_FD_VARIABLE] = ledger.fd
        children = _children(worker, config, path, (own_name, node_name), events, passed=passed)
        return MadePool(opener(capacity, children, events.on_ready), _no_hooks, level.set)
    from taskd.execution.opening import open_app
    from taskd.execution.task_app import Workplace

    workplace = Workplace(config, worker.name, node_name, has_children=False, ledger=ledger)
    try:
        app = open_app(path, workplace)
    except Exception as error:
        # Any exception of the user's module at import is this one failure, with its traceback.
        reason, detail = failure_of(error)
        detail = with_remedy(detail, path)
        raise AppImportError(f"the task code did not load: {reason}", detail) from error
    events.on_hello(msgspec.json.encode(app.table()))
    app.run_stage(Stage.PROCESS_INIT)
    return MadePool(opener(capacity, app, events.on_ready), app.run_stage, log.set_level)


def _children(
    worker: WorkerConfig,
    config: Config,
    path: str,
    names: tuple[str, str],
    events: PoolEvents,
    *,
    passed: Mapping[str, int],
) -> Children:
    """Return the program of a template.

    ``path`` names the app; ``names``: of the program and of the node.  ``passed``: further descriptors
    for it, by their variables.
    """
    # Kept open for the life of the pool: a template that dies is replaced by one that reads it anew.
    passed = {transfer.CONFIG_FD_VARIABLE: transfer.into_descriptor(config), **passed}
    return Children(
        command=module_command("taskd.worker.template", *names, path, worker.name),
        environment={**os.environ, **{name: str(fd) for name, fd in passed.items()}},
        pass_fds=tuple(passed.values()),
        title=names[0],
        preload=worker.preload,
        limits=ChildLimits(
            max_tasks=worker.max_tasks_per_child,
            max_bytes=worker.max_memory_per_child,
            max_age_s=worker.max_age_per_child,
            proportional=worker.memory_measure == "pss",
        ),
        on_hello=events.on_hello,
        on_failed=lambda reason, detail: events.on_failed(reason, with_remedy(detail, path)),
        on_death=events.on_death,
    )
