"""The orders to a worker: to rest, to end, or to give up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from taskd.base.moment import Moment


class Shutdown(IntEnum):
    """How the worker was asked to end; the more immediate request wins."""

    NONE = 0
    #: Take nothing new, finish what runs, settle, leave.
    WARM = 1
    #: Kill what runs, put it back in its queue, leave.
    COLD = 2


@dataclass(frozen=True, slots=True)
class Fatal:
    """Why the worker cannot go on at all, and the exit status that says so."""

    exit_code: int
    reason: str
    detail: str = ""


class Orders:
    """The orders to one worker.  A caller gives one by a method; nobody writes here otherwise."""

    __slots__ = ("_on_shutdown", "fatal", "quiet", "shutdown")

    def __init__(self) -> None:
        self.shutdown = Shutdown.NONE
        #: Takes nothing new until it is told to go on.
        self.quiet = False
        self.fatal: Fatal | None = None
        self._on_shutdown: Moment[Shutdown] = Moment("shutdown")

    def request_shutdown(self, how: Shutdown) -> None:
        """Ask the worker to end; a milder request than an earlier one changes nothing."""
        if how > self.shutdown:
            self.shutdown = how
            self._on_shutdown.publish(how)

    def on_shutdown(self, hear: Callable[[Shutdown], None]) -> None:
        """Call ``hear`` with each request that changes ``shutdown``, and with one that came before."""
        self._on_shutdown.subscribe(hear)
        if self.shutdown is not Shutdown.NONE:
            hear(self.shutdown)

    def set_quiet(self, quiet: bool) -> None:
        """Rest, or go on; neither touches what runs."""
        self.quiet = quiet

    def end_by(self, fatal: Fatal) -> None:
        """Give up: the worker ends cold with ``fatal.exit_code``.  The first reason stays."""
        self.fatal = self.fatal or fatal
        self.request_shutdown(Shutdown.COLD)
