"""Whether the kernel's OOM killer was at work: its counter for the cgroup of this daemon.

SIGKILL alone does not tell: an operator, the daemon itself or the kernel may have sent it.
"""

from __future__ import annotations

import os

_CGROUPS = "/sys/fs/cgroup"


class MemoryKills:
    """Compares the counter with its last value.  Without cgroup v2 it never says yes."""

    def __init__(self, path: str | None = None) -> None:
        self._path = _events_path() if path is None else path
        self._known = self._count()

    def has_killed(self) -> bool:
        """Return whether a process was killed since the last call."""
        former, self._known = self._known, self._count()
        return self._known > former

    def _count(self) -> int:
        try:
            with open(self._path, encoding="ascii") as file:
                counts = dict(line.split() for line in file)
            return int(counts.get("oom_kill", 0))
        except (OSError, ValueError):
            return 0


def _events_path() -> str:
    """Return memory.events of our own cgroup (cgroups(7)); a path that does not exist without v2."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    own = next((line.partition("::")[2] for line in lines if line.startswith("0::")), "")
    return os.path.join(_CGROUPS, own.lstrip("/"), "memory.events")
