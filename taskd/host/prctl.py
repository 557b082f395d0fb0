"""Linux prctl(2) calls that the standard library lacks: dying with the parent, subreaping, no new privileges.

Callers rely on these facts: the death signal is tied to the *thread* that forked, is cleared by setuid/setgid
and kept over exec.  So set it last, then compare ``getppid`` with the parent that was expected, because that
parent may have died in between.
"""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), f"prctl({option})")


def die_with_parent(expected_parent: int, signum: signal.Signals = signal.SIGKILL) -> None:
    """Have the kernel send ``signum`` to this process when its parent dies.

    Ends the process at once when the parent is already gone.
    """
    _prctl(_PR_SET_PDEATHSIG, int(signum))
    if os.getppid() != expected_parent:
        os._exit(0)


def become_subreaper() -> None:
    """Make orphaned descendants children of this process, so that it can end and reap them."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def no_new_privileges() -> None:
    """Make set-uid bits and file capabilities void for this process and all it executes, for ever."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
