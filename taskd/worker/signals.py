"""The worker's signals.  A handler only records; the loop acts.

===========  ==========================================================
TERM, INT    warm: take nothing new, finish, settle, exit 0; a second one: cold
QUIT         cold: end what runs, put it back in its queue, exit
TSTP         quiet: take nothing new, give back what has not begun, go on with what runs
CONT         take tasks again after TSTP
HUP          take over the settings that the supervisor has changed, if there are any
===========  ==========================================================
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

from taskd.base.loop import Loop
from taskd.base.program_signals import HELD
from taskd.consumer.context import Shutdown

logger = logging.getLogger(__name__)


def next_shutdown(present: Shutdown, number: int) -> Shutdown:
    """Return what a signal makes of the present request.  Pure."""
    if number == signal.SIGQUIT:
        return Shutdown.COLD
    if number in (signal.SIGTERM, signal.SIGINT):
        return Shutdown.WARM if present is Shutdown.NONE else Shutdown.COLD
    return present


class SignalWatch:
    """Remembers the most immediate request, also while nobody asks yet (during the start)."""

    def __init__(self, loop: Loop) -> None:
        self.requested = Shutdown.NONE
        self._quiet = False
        #: Called at HUP.
        self.on_reread: Callable[[], None] = _not_yet
        self._on_change: Callable[[Shutdown], None] = _nothing
        self._on_quiet: Callable[[bool], None] = _nothing
        #: Called in the handler of a signal that asks the worker to end: it may store a mark.
        self.at_once: Callable[[], None] = _nothing_at_once
        loop.watch_signals(set(HELD), self._on_signal, self._at_once)

    def tell(self, on_change: Callable[[Shutdown], None], on_quiet: Callable[[bool], None]) -> None:
        """Call ``on_change(shutdown)`` now if something was requested, and on each later request.

        ``on_quiet(quiet)`` in the same way for rest and return.
        """
        self._on_change = on_change
        self._on_quiet = on_quiet
        on_quiet(self._quiet)
        if self.requested is not Shutdown.NONE:
            on_change(self.requested)

    def end_cold(self) -> None:
        """Request what QUIT requests."""
        self._on_signal(signal.SIGQUIT)

    def _at_once(self, number: int) -> None:
        if next_shutdown(Shutdown.NONE, number) is not Shutdown.NONE:
            self.at_once()

    def _on_signal(self, number: int) -> None:
        if number in (signal.SIGTSTP, signal.SIGCONT):
            self._quiet = number == signal.SIGTSTP
            logger.info("signal=%s quiet=%s", signal.Signals(number).name, self._quiet)
            self._on_quiet(self._quiet)
            return
        if number == signal.SIGHUP:
            self.on_reread()
            return
        self.requested = next_shutdown(self.requested, number)
        if self.requested is not Shutdown.NONE:
            logger.info("signal=%s shutdown=%s", signal.Signals(number).name, self.requested.name.lower())
            self._on_change(self.requested)


def _not_yet() -> None:
    """There is nothing to take over before it consumes."""


def _nothing(_: object) -> None:
    """Nobody listens yet."""


def _nothing_at_once() -> None:
    """There is nothing to mark."""
