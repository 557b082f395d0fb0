"""The meaning of the supervisor's signals: one table, from which docs/signals.md is written."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from enum import Enum
from typing import Protocol


class Haste(Enum):
    """How a stop goes on: each further signal goes one step down."""

    WARM = "warm"  # finish running tasks, within stop_timeout
    COLD = "cold"  # give them back to the broker and leave
    KILL = "kill"


class Daemon(Protocol):
    """The object that signals act on."""

    def request_stop(self, *, cold: bool) -> None:
        """Stop everything; a repeated request is more hasty than the one before."""

    def on_child_ended(self) -> None:
        """Some child, perhaps an orphan, has ended."""

    def on_reload_signal(self) -> None:
        """SIGHUP came."""

    def on_reopen_signal(self) -> None:
        """SIGUSR1 came: the files that logs are written to were renamed."""

    def scale_all(self, by: int) -> None:
        """Add ``by`` programs to each worker, or take them away; at least one stays."""


_STOP = "warm stop: running tasks finish within `stop_timeout`; once more: cold, and then SIGKILL"

#: The effect of each signal, during the start, a reload and a drain alike.
MEANINGS: Mapping[signal.Signals, str] = {
    signal.SIGTERM: _STOP,
    signal.SIGINT: "as SIGTERM",
    signal.SIGQUIT: "cold stop: running tasks go back to the broker; once more: SIGKILL",
    signal.SIGHUP: "reload the configuration, as `taskctl reload`; while taskd stops, nothing",
    signal.SIGUSR1: "reopen the files that output is written to, after they were renamed",
    signal.SIGUSR2: "write the stack of the supervisor to standard error, even when it hangs",
    signal.SIGTTIN: "one program more of each worker, until the next reload says otherwise",
    signal.SIGTTOU: "one program less of each worker, an idle one first; one always stays",
    signal.SIGCHLD: "look for orphans that have ended; the programs themselves are watched by pidfds",
    signal.SIGABRT: "write the stack to standard error and abort; systemd's watchdog sends it",
}

#: Signals that the C library's side of Python obeys without the loop, so that a hung loop obeys too.
AT_ONCE = frozenset({signal.SIGUSR2, signal.SIGABRT})

#: All that the loop takes.
WATCHED = set(MEANINGS) - AT_ONCE


#: Signals that end the daemon.
STOPS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


def dispatch(number: int, daemon: Daemon) -> None:
    """Act on one signal.  Runs in the loop, never in a signal handler."""
    match number:
        case signal.SIGTERM | signal.SIGINT:
            daemon.request_stop(cold=False)
        case signal.SIGQUIT:
            daemon.request_stop(cold=True)
        case signal.SIGHUP:
            daemon.on_reload_signal()
        case signal.SIGUSR1:
            daemon.on_reopen_signal()
        case signal.SIGTTIN:
            daemon.scale_all(1)
        case signal.SIGTTOU:
            daemon.scale_all(-1)
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
