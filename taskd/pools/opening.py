"""The needs of a new pool: the work to run in this process, or the program of its children."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from taskd.pools.base import ChildEnd, Target

AsyncTarget = Callable[[bytes], Awaitable[bytes]]
OnReady = Callable[[], None]


class TargetForms(Protocol):
    """The target of a pool in the worker's own process, in the form that the pool can run."""

    @property
    def soft_limit(self) -> type[Exception]:
        """The exception to raise in a job at its soft limit, which takes a text or nothing."""

    def blocking(self) -> Target:
        """Return a target that blocks its thread until the job has ended."""

    def green(self) -> Target:
        """Return a target that blocks one greenlet; the coroutines of all jobs share one event loop."""

    def awaitable(self) -> AsyncTarget:
        """Return a target for a running asyncio loop, which stays free meanwhile."""


@dataclass(frozen=True, slots=True)
class ChildLimits:
    """The limits at which a child is replaced; 0 means no limit.

    ``max_tasks`` is never exceeded.  ``max_bytes`` is resident memory, or the fair share of it (PSS)
    with ``proportional``, read between jobs.
    """

    max_tasks: int = 0
    max_bytes: int = 0
    max_age_s: float = 0.0
    proportional: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Children:
    """How a pool starts the program that its children come from, and whom it tells of them.

    ``command`` calls ``template.serve``; ``environment`` is all of its environment; ``pass_fds`` stay open
    in it.  ``title`` is what ps(1) shows; ``preload``: whether the template keeps the task code that it has
    loaded, see ``prefork.wire``.
    """

    command: Sequence[str]
    environment: Mapping[str, str]
    pass_fds: Sequence[int]
    title: str
    preload: str
    limits: ChildLimits
    #: Gets the template's table of tasks, again after a template had to be replaced.
    on_hello: Callable[[bytes], None]
    #: No template can be had, for a reason and with a detail: nothing will run, and the owner should end.
    on_failed: Callable[[str, str], None]
    #: A child ended that was not told to leave; the outcome of its job follows.
    on_death: Callable[[ChildEnd], None]
