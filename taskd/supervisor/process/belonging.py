"""Finds the program to which a process belongs that lost its parent; asked when a program has ended.

Each life of a program gets a *mark* in its environment, which every descendant that is executed inherits,
whatever session it moves to.  It also begins a session, in which all descendants stay that only fork.  So an
orphan belongs to the life whose mark it bears, or else to the one whose session it is in.  An orphan that
bears no mark and has left its session (``env -i setsid ...``) cannot be told apart from anybody else's, and
lives until the daemon ends.

Why not process groups: a shell gives each job one of its own.  Why not cgroups: they need a
delegated tree, which a daemon outside systemd does not have.
"""

from __future__ import annotations

import os
from collections import deque
from itertools import count

#: In the environment of each program: which life of which daemon it is.
MARK_VARIABLE = "TASKD_LIFE"

# Sessions of ended programs that are remembered.  Only what forked without exec and hides its
# environment is found by them, so that the oldest may be forgotten.
_REMEMBERED = 1000

_lives = count(1)


def new_mark() -> str:
    """Return the mark of a new life; unlike that of every other daemon on this machine."""
    return f"{os.getpid()}.{next(_lives)}"


class Belonging:
    """The lives that go on, and those that have ended."""

    def __init__(self) -> None:
        self._alive: dict[str, int] = {}
        self._ended_sessions: deque[int] = deque(maxlen=_REMEMBERED)
        self._daemon = f"{os.getpid()}."

    def begins(self, mark: str, session: int) -> None:
        """Note a life: its mark, and the session that its process leads."""
        self._alive[mark] = session
        if session in self._ended_sessions:
            self._ended_sessions.remove(session)  # the kernel gives a number anew only when nobody is left

    def ends(self, mark: str) -> None:
        """Note the end of a life: what still bears its mark has lost its program."""
        session = self._alive.pop(mark, None)
        if session is not None:
            self._ended_sessions.append(session)

    def is_left_behind(self, pid: int) -> bool:
        """Return whether the process belonged to a program that has ended.  Reads /proc."""
        mark = _mark_of(pid)
        if mark.startswith(self._daemon):
            return mark not in self._alive
        return _session_of(pid) in self._ended_sessions


def _mark_of(pid: int) -> str:
    """Return the mark in a process's environment, empty when there is none or it cannot be read.

    A process of another user needs CAP_SYS_PTRACE to be looked into; root has it.
    """
    try:
        with open(f"/proc/{pid}/environ", "rb") as file:
            variables = file.read().split(b"\0")
    except OSError:
        return ""
    start = MARK_VARIABLE.encode() + b"="
    return next(
        (each[len(start) :].decode("ascii", "replace") for each in variables if each.startswith(start)), ""
    )


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except OSError:
        return -1
