"""taskd: a background-task daemon for bare-metal servers.

Task authors need one line: ``from taskd import App``.  Everything else is reached through
``taskd`` (the daemon) and ``taskctl`` (its tool).  ARCHITECTURE.md is the map of the rooms.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from taskd.base.version import __version__

if TYPE_CHECKING:
    from taskd.app.app import App as App
    from taskd.app.bound import BoundTask as BoundTask
    from taskd.app.control_flow import Ignore as Ignore
    from taskd.app.control_flow import Reject as Reject
    from taskd.app.control_flow import Retry as Retry
    from taskd.app.periodic import at as at
    from taskd.app.periodic import cron as cron
    from taskd.app.periodic import every as every
    from taskd.app.periodic import solar as solar
    from taskd.app.task import Task as Task
    from taskd.app.task_base import TaskBase as TaskBase
    from taskd.base.errors import SoftTimeLimitExceeded as SoftTimeLimitExceeded
    from taskd.base.errors import TaskdError as TaskdError
    from taskd.protocol.exceptions import register_exception as register_exception
    from taskd.sending.result import AsyncResult as AsyncResult
    from taskd.sending.result import ResultTimeout as ResultTimeout

# PEP 562, with the whole table in sight: the supervisor imports this package and must not pay
# for the task API, which it never uses.
_PUBLIC = {
    "App": "taskd.app.app",
    "AsyncResult": "taskd.sending.result",
    "BoundTask": "taskd.app.bound",
    "Ignore": "taskd.app.control_flow",
    "Reject": "taskd.app.control_flow",
    "ResultTimeout": "taskd.sending.result",
    "Retry": "taskd.app.control_flow",
    "SoftTimeLimitExceeded": "taskd.base.errors",
    "Task": "taskd.app.task",
    "TaskBase": "taskd.app.task_base",
    "TaskdError": "taskd.base.errors",
    "at": "taskd.app.periodic",
    "cron": "taskd.app.periodic",
    "every": "taskd.app.periodic",
    "register_exception": "taskd.protocol.exceptions",
    "solar": "taskd.app.periodic",
}

__all__ = [
    "App",
    "AsyncResult",
    "BoundTask",
    "Ignore",
    "Reject",
    "ResultTimeout",
    "Retry",
    "SoftTimeLimitExceeded",
    "Task",
    "TaskBase",
    "TaskdError",
    "at",
    "cron",
    "every",
    "register_exception",
    "solar",
    "__version__",
]


def __getattr__(name: str) -> object:
    module_name = _PUBLIC.get(name)
    if module_name is None:
        raise AttributeError(f"module 'taskd' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(module_name), name)
