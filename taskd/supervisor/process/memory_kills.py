"""Whether the kernel's OOM killer was at work: its counter for the cgroup of this daemon, v1 or v2.

SIGKILL alone does not tell: an operator, the daemon itself or the kernel may have sent it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

_CGROUPS = "/sys/fs/cgroup"


class MemoryKills:
    """Compares the counter with its last value.  Without a memory controller it never says yes."""

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
    """Return the file with the counter of our own cgroup (cgroups(7)); empty when there is none."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8") as file:
            lines = file.read().splitlines()
    except OSError:
        return ""
    return next((path for path in places(lines) if os.path.exists(path)), "")


def places(lines: Sequence[str], root: str = _CGROUPS) -> list[str]:
    """Return where the counter may stand, by the lines of /proc/self/cgroup, the likeliest place first.

    With version 1 of cgroups the memory controller has a tree of its own, and ``memory.oom_control`` the
    counter since Linux 4.13.  In a container the path is that of the host, and the root is our own.
    """
    found: list[str] = []
    for line in lines:
        _, controllers, own = line.split(":", 2)
        if "memory" in controllers.split(","):
            tree = os.path.join(root, "memory")
            name = "memory.oom_control"
            found = [os.path.join(tree, own.lstrip("/"), name), os.path.join(tree, name), *found]
        elif not controllers:
            found += [
                os.path.join(root, own.lstrip("/"), "memory.events"),
                os.path.join(root, "memory.events"),
            ]
    return found
