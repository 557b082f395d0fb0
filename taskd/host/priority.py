"""A program that starts beside others which do its work starts in the background, at the lowest priority.

Importing takes a processor for as long as the task code is large, and on a small machine it takes it from
those that serve.  The starter of such a program has it step back before its first line, and leaves
its final nice value in ``NICE_VARIABLE``.  The program comes forward by itself when its imports are done, and
before it touches what others wait for.  The holder of a database's lock must not be one that gets no
processor.

A nice value belongs to a thread and is inherited, which is why coming forward names whom it is for.
"""

from __future__ import annotations

import os

NICE_VARIABLE = "TASKD_NICE"

_LOWEST = 19
_MAX_NICE = 20


def has_way_back(nice: int, *, limit: int, capable: bool) -> bool:
    """Return whether a process may go back to ``nice`` after it has stepped back.

    ``limit`` is its RLIMIT_NICE as getrlimit(2) has it (-1: none), ``capable`` whether it has CAP_SYS_NICE.
    """
    return nice < _LOWEST and (capable or limit < 0 or _MAX_NICE - nice <= limit)


def step_back(pid: int = 0, nice: int = _LOWEST) -> None:
    """Give way to everything else; this thread and what it begins from now on, or the first of a process.

    Nothing happens when the process is gone, or has less already.
    """
    try:
        os.setpriority(os.PRIO_PROCESS, pid, nice)
    except (PermissionError, ProcessLookupError):
        pass


def nice_of(pid: int) -> int:
    """Return the nice value of a process; 0 when it is gone."""
    try:
        return os.getpriority(os.PRIO_PROCESS, pid)
    except ProcessLookupError:
        return 0


def come_forward(*, with_descendants: bool) -> None:
    """Take the priority that this program is to have, if it started in the background.

    ``with_descendants``: also all threads and processes that it began, as far as they kept its group.
    """
    nice = os.environ.get(NICE_VARIABLE, "")
    if nice.lstrip("-").isdigit():
        give(os.getpgrp() if with_descendants else 0, int(nice))


def give(group: int, nice: int) -> None:
    """Give this priority to a process group; 0 is the calling thread alone.  A refusal changes nothing."""
    try:
        os.setpriority(os.PRIO_PGRP if group else os.PRIO_PROCESS, group, nice)
    except (PermissionError, ProcessLookupError):
        pass  # some of the group have another user by now, or all are gone
