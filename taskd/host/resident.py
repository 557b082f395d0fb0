"""Resident memory read from /proc, for heartbeats and for limits.

Why not psutil: importing it costs each worker 22 ms of start-up and 2 MB; a heartbeat needs one
number that proc_pid_statm(5) gives in one read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


def resident_bytes(pids: Iterable[int]) -> int:
    """Return the sum of the resident sizes of the processes; one that is gone counts nothing."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/statm", "rb") as statm:
                total += int(statm.read().split()[1]) * _PAGE_BYTES
        except (OSError, IndexError, ValueError):
            continue
    return total


def private_bytes(pid: int) -> int:
    """Return what the process shares with nobody (USS); 0 when it is gone or may not be looked into."""
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
            return sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(b"Private_"))
    except (OSError, IndexError, ValueError):
        return 0


def proportional_bytes(pids: Iterable[int]) -> int:
    """Return the sum of their fair shares (PSS); each costs the kernel a walk over all mappings."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup", "rb") as rollup:
                total += sum(int(line.split()[1]) * 1024 for line in rollup if line.startswith(b"Pss:"))
        except (OSError, IndexError, ValueError):
            continue
    return total
