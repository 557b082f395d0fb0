"""The only importer of psutil: facts about processes for status, limits and tests."""

from __future__ import annotations

from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class MemoryUse:
    """Memory of one process in bytes; ``pss_bytes`` shares pages fairly among their users."""

    rss_bytes: int
    pss_bytes: int


def rss_bytes(pid: int) -> int:
    """Return the resident memory of a process, or 0 when it is gone or hidden."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.Error:
        return 0


def memory(pid: int) -> MemoryUse:
    """Return RSS and PSS of a process; zeros when it is gone or hidden."""
    try:
        full = psutil.Process(pid).memory_full_info()
    except psutil.Error:
        return MemoryUse(0, 0)
    return MemoryUse(rss_bytes=full.rss, pss_bytes=full.pss)


def descendants(pid: int) -> list[int]:
    """Return the pids of all living descendants of a process, zombies left out."""
    try:
        children = psutil.Process(pid).children(recursive=True)
    except psutil.Error:
        return []
    return [child.pid for child in children if is_alive(child.pid)]


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE  # type: ignore[no-any-return]
    except psutil.Error:
        return False
