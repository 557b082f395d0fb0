"""The two moments at which a program can not act on a signal: before it listens, and at its very end.

At the start the interpreter knows no handler of ours, and a signal would end the process, or stop it (TSTP).
So the supervisor starts its own programs with these signals blocked; they wait in the kernel until the
loop watches them.

At the end the interpreter takes its handlers away before the process is gone, and a second TERM would turn
the exit status into a death by signal.  A mask does not help there: a signal to the process takes any thread
that does not block it, such as one that is still in an abandoned task.
"""

from __future__ import annotations

import signal
from collections.abc import Set

#: Signals that the supervisor may send to a program of taskd before that one listens.
HELD = frozenset(
    {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGTSTP, signal.SIGCONT}
)


def hold(numbers: Set[signal.Signals] = HELD) -> None:
    """Have signals wait from now on, until ``let_in``; an exec does not change that."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def asked_to_end() -> bool:
    """Return whether a signal that is held asks the process to end."""
    return bool(signal.sigpending() & {signal.SIGTERM, signal.SIGINT, signal.SIGQUIT})


def let_in(numbers: Set[signal.Signals]) -> None:
    """Let come what was held; for one who listens to ``numbers`` now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD | numbers)


def ignore_from_now_on(numbers: Set[signal.Signals] = HELD) -> None:
    """Let no signal end the process any more: it has nothing left to do but to exit.  Main thread only."""
    for number in numbers:
        signal.signal(number, signal.SIG_IGN)  # Python leaves it so when it takes its own handlers away
