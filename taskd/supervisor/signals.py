"""What the signals of the supervisor mean."""

from __future__ import annotations

import signal
from enum import Enum
from typing import Protocol


class Haste(Enum):
    """How a stop goes on: each further signal goes one step down."""

    WARM = "warm"  # finish running tasks, within stop_timeout
    COLD = "cold"  # give them back to the broker and leave
    KILL = "kill"


class Daemon(Protocol):
    """What signals act on."""

    def request_stop(self, *, cold: bool) -> None:
        """Stop everything; a repeated request is more hasty than the one before."""

    def on_child_ended(self) -> None:
        """Some child, perhaps an orphan, has ended."""

    def on_reload_signal(self) -> None:
        """SIGHUP came."""


#: All that is caught.  SIGCHLD is only a hint to look for dead orphans; programs have pidfds.
WATCHED = {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGCHLD}


def dispatch(number: int, daemon: Daemon) -> None:
    """Act on one signal.  Runs in the loop, never in a signal handler."""
    match number:
        case signal.SIGTERM | signal.SIGINT:
            daemon.request_stop(cold=False)
        case signal.SIGQUIT:
            daemon.request_stop(cold=True)
        case signal.SIGHUP:
            daemon.on_reload_signal()
        case signal.SIGCHLD:
            daemon.on_child_ended()


def hastier(now: Haste | None, *, cold: bool) -> Haste:
    """Return how to go on when a stop is asked for while ``now`` is under way (None: no stop yet)."""
    match now:
        case None:
            return Haste.COLD if cold else Haste.WARM
        case Haste.WARM:
            return Haste.COLD
        case Haste.COLD | Haste.KILL:
            return Haste.KILL
