"""The task that runs in this thread or coroutine.

It stands below everything, so that the log can name the task in each of its lines without knowing
what a task is.  ``taskd.sending.request`` gives the same variable its full type.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol


class LoggedTask(Protocol):
    """As much of a task's request as a line of the log shows."""

    id: str
    task: str


#: None outside of tasks.  The executor sets it.
current: ContextVar[LoggedTask | None] = ContextVar("taskd_request", default=None)
