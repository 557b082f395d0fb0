"""Exceptions that a task raises to say how it wants to end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from taskd.base.errors import TaskdError


class ControlFlow(TaskdError):
    """Base of what is raised for the executor, not for a human."""


class Retry(ControlFlow):
    """Run this task again later; ``self.retry()`` raises it.

    ``cause`` is what went wrong.  Neither ``countdown`` (seconds) nor ``eta``: the task's
    ``retry_delay`` counts.  ``max_retries`` None: the task's own.  ``options``: see ``BoundTask.retry``.
    """

    def __init__(
        self,
        cause: BaseException | None = None,
        *,
        countdown: float | timedelta | None = None,
        eta: datetime | None = None,
        max_retries: int | None = None,
        args: Sequence[object] | None = None,
        kwargs: Mapping[str, object] | None = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__("retry" if cause is None else f"retry after {type(cause).__name__}")
        self.cause = cause
        self.countdown = countdown
        self.eta = eta
        self.max_retries = max_retries
        self.task_args = args
        self.task_kwargs = kwargs
        self.options = options or {}


class Replaced(ControlFlow):
    """Let a canvas take the place of this task; ``self.replace()`` raises it.  ``signature``: plain JSON."""

    def __init__(self, signature: Mapping[str, object]) -> None:
        super().__init__("replaced by another task")
        self.signature = signature


class Ignore(ControlFlow):
    """End without a result; the stored state stays."""


class Reject(ControlFlow):
    """Put the message into the dead-letter queue, or with ``requeue`` back into its own."""

    def __init__(self, reason: str = "", *, requeue: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.requeue = requeue
