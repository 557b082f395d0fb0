"""Waiting for processes: known ones by their pidfd, orphans apart from them.

The only place that calls wait.  Never for "any child": that would steal the exit status of a process
that somebody else waits for.  A pid is signalled only through its pidfd, or while it is an unreaped
child, so that a reused pid is never hit.
"""

from __future__ import annotations

import logging
import os
import signal
from collections.abc import Callable
from dataclasses import dataclass

from taskd.base.loop import Loop, Owner
from taskd.supervisor.process.belonging import Belonging
from taskd.supervisor.process.memory_kills import MemoryKills
from taskd.supervisor.process.spawn import Process

_log = logging.getLogger(__name__)


def _go_on(_why: str) -> None:
    """Nobody pays: an exit must reach whoever waits for it, even if less is known of it."""


_NOBODY = Owner("facts about an exit", _go_on)


@dataclass(frozen=True, slots=True)
class Exit:
    """How a process ended, and what it used.  Either ``code`` or ``signum`` is set.

    ``left_behind``: how many of its descendants had outlived it, and were killed.
    """

    code: int | None
    signum: int | None
    cpu_s: float
    max_rss_bytes: int
    left_behind: int = 0
    core_dumped: bool = False
    #: The kernel has killed a process of this daemon's cgroup for lack of memory meanwhile.
    out_of_memory: bool = False

    def __str__(self) -> str:
        if self.signum is None:
            return f"exit status {self.code}"
        try:
            return f"signal {signal.Signals(self.signum).name}"
        except ValueError:
            return f"signal {self.signum}"


class Reaper:
    """Collects the exits of the supervisor's children.  For the loop's thread."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._known: set[int] = set()
        self._belonging = Belonging()
        self._memory = MemoryKills()

    def watch(self, process: Process, ended: Callable[[Exit], None], owner: Owner) -> None:
        """Call ``ended`` once, when the process has ended and is reaped and what it left behind is killed.

        Closes the pidfd then.  ``owner`` pays for what nobody foresaw in that.
        """
        self._known.add(process.pid)
        self._belonging.begins(process.mark, process.pid)

        def reap() -> None:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid == 0:
                return  # a spurious wake-up: it is still there
            self._loop.remove_reader(process.pidfd)
            os.close(process.pidfd)
            self._known.discard(pid)
            # Nobody waits for its orphans, and its tasks will run again.
            left_behind = [0]
            out_of_memory = [False]
            self._loop.attempt(lambda: left_behind.insert(0, self._ends(process)), _NOBODY)
            signalled = os.WIFSIGNALED(status)
            if signalled:
                self._loop.attempt(lambda: out_of_memory.insert(0, self._memory.has_killed()), _NOBODY)
            ended(
                Exit(
                    code=None if signalled else os.waitstatus_to_exitcode(status),
                    signum=os.WTERMSIG(status) if signalled else None,
                    cpu_s=usage.ru_utime + usage.ru_stime,
                    max_rss_bytes=usage.ru_maxrss * 1024,
                    left_behind=left_behind[0],
                    core_dumped=signalled and os.WCOREDUMP(status),
                    out_of_memory=out_of_memory[0],
                )
            )

        self._loop.add_reader(process.pidfd, reap, owner)

    def _ends(self, process: Process) -> int:
        self._belonging.ends(process.mark)
        return self._end_left_behind()

    def reap_orphans(self) -> None:
        """Reap the dead among the processes that lost their parent below us.

        One that dies may leave children in turn: children of programs that have ended are killed.
        Processes that a living program detached are left alone until the daemon ends.
        """
        reaped = [pid for pid in self._orphans() if _reap(pid)]
        if reaped:
            self._end_left_behind()

    def _end_left_behind(self) -> int:
        """Kill the orphans of programs that have ended; return how many were alive."""
        return sum(
            _kill(pid) for pid in self._orphans() if not _reap(pid) and self._belonging.is_left_behind(pid)
        )

    def end_orphans(self) -> int:
        """Send SIGKILL to every process that lost its parent below us, and return how many are left."""
        return sum(_kill(pid) for pid in self._orphans() if not _reap(pid))

    def _orphans(self) -> list[int]:
        return [pid for pid in _children() if pid not in self._known]


def send(process: Process, signum: signal.Signals) -> None:
    """Send a signal to a process; nothing happens when it is gone."""
    try:
        signal.pidfd_send_signal(process.pidfd, signum)
    except ProcessLookupError:
        pass
    except PermissionError:
        _log.error(
            "pid=%s belongs to another user and %s is refused: taskd needs CAP_KILL", process.pid, signum.name
        )


def _kill(pid: int) -> int:
    """Kill an unreaped child, whose pid cannot belong to another; return 1 if it was alive."""
    os.kill(pid, signal.SIGKILL)
    return 1


def _reap(pid: int) -> bool:
    """Return whether the child was dead; it is reaped then."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True


def _children() -> list[int]:
    """Return the pids of this process's children, dead ones included.

    The supervisor has one thread, so the children of that thread are all there are.
    """
    try:
        with open("/proc/thread-self/children", encoding="ascii") as file:
            return [int(pid) for pid in file.read().split()]
    except OSError:
        return []  # a kernel without CONFIG_PROC_CHILDREN: orphans end with the supervisor's cgroup
