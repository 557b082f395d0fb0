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

from taskd.base.blueprint import Given, Step
from taskd.base.loop import Loop
from taskd.base.moment import Moment
from taskd.base.program_signals import HELD
from taskd.consumer.orders import Orders, Shutdown
from taskd.worker.foundations import Timer
from taskd.worker.ledger import LedgerStep

logger = logging.getLogger(__name__)


def next_shutdown(present: Shutdown, number: int) -> Shutdown:
    """Return what a signal makes of the present request.  Pure."""
    if number == signal.SIGQUIT:
        return Shutdown.COLD
    if number in (signal.SIGTERM, signal.SIGINT):
        return Shutdown.WARM if present is Shutdown.NONE else Shutdown.COLD
    return present


class SignalWatch:
    """Hands the signals of this process on to the orders of its worker."""

    def __init__(self, loop: Loop, orders: Orders, at_once: Callable[[], None] | None = None) -> None:
        """``at_once`` is called in the handler of a signal that asks the worker to end, to store a mark."""
        self.orders = orders
        self._requested = Shutdown.NONE
        self._reread: Moment[None] = Moment("reread")
        self._mark = at_once
        loop.watch_signals(set(HELD), self._on_signal, self._at_once)

    def on_reread(self, hear: Callable[[], None]) -> None:
        """Call ``hear`` at each HUP."""
        self._reread.subscribe(lambda _: hear())

    def end_cold(self) -> None:
        """Request what QUIT requests."""
        self._on_signal(signal.SIGQUIT)

    def _at_once(self, number: int) -> None:
        if self._mark is not None and next_shutdown(Shutdown.NONE, number) is not Shutdown.NONE:
            self._mark()

    def _on_signal(self, number: int) -> None:
        if number in (signal.SIGTSTP, signal.SIGCONT):
            quiet = number == signal.SIGTSTP
            logger.info("signal=%s quiet=%s", signal.Signals(number).name, quiet)
            self.orders.set_quiet(quiet)
            return
        if number == signal.SIGHUP:
            self._reread.publish(None)
            return
        self._requested = next_shutdown(self._requested, number)
        if self._requested is not Shutdown.NONE:
            logger.info("signal=%s shutdown=%s", signal.Signals(number).name, self._requested.name.lower())
            self.orders.request_shutdown(self._requested)


class Hub(Step[SignalWatch]):
    """Attaches the signals to the loop, and gives the worker its orders."""

    name = "Hub"
    requires = (Timer, LedgerStep)

    def start(self, given: Given) -> SignalWatch:
        """Record signals from now on; the consumer obeys them as soon as it exists."""
        ledger = given[LedgerStep].ledger
        return SignalWatch(given[Timer], Orders(), None if ledger is None else ledger.stopping)
