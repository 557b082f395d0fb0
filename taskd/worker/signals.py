"""The worker's signals.  A handler only records; the loop acts.

===========  ==========================================================
TERM, INT    warm: take nothing new, finish, settle, exit 0; a second one: cold
QUIT         cold: end what runs, put it back in its queue, exit
HUP          ignored: the supervisor reloads
===========  ==========================================================
"""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable

from taskd.consumer.context import Shutdown
from taskd.loop import Loop

logger = logging.getLogger(__name__)

_WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP}


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
        self._on_change: Callable[[Shutdown], None] = _nothing
        loop.watch_signals(_WATCHED, self._on_signal)

    def tell(self, on_change: Callable[[Shutdown], None]) -> None:
        """Call ``on_change(shutdown)`` now if something was requested, and on each later request."""
        self._on_change = on_change
        if self.requested is not Shutdown.NONE:
            on_change(self.requested)

    def end_cold(self) -> None:
        """Request what QUIT requests."""
        self._on_signal(signal.SIGQUIT)

    def _on_signal(self, number: int) -> None:
        self.requested = next_shutdown(self.requested, number)
        if self.requested is not Shutdown.NONE:
            logger.info("signal=%s shutdown=%s", signal.Signals(number).name, self.requested.name.lower())
            self._on_change(self.requested)


def _nothing(shutdown: Shutdown) -> None:
    """Nobody listens yet."""
