"""The only importer of psutil: facts about processes, for ``taskctl status``, tests and benchmarks.

The daemon itself does without: see ``taskd.host.resident``.
"""

from __future__ import annotations

import psutil


def pss_bytes(pid: int) -> int:
    """Return a process's proportional set size, 0 when it is gone or belongs to somebody else.

    Pages that processes share, as a template and its children do, are divided among them, so these
    numbers may be added up; resident sizes may not.
    """
    try:
        return int(psutil.Process(pid).memory_full_info().pss)
    except psutil.Error:
        return 0


def tree_pss_bytes(pid: int) -> int:
    """Return the proportional set size of a process with all its descendants; 0 as ``pss_bytes``."""
    own = pss_bytes(pid)
    return own + sum(pss_bytes(each) for each in descendants(pid)) if own else 0


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


def tree_cpu_s(pid: int) -> float | None:
    """Return the processor time of a process with its descendants, ended ones too; None when it is gone."""
    try:
        times = [psutil.Process(each).cpu_times() for each in (pid, *descendants(pid))]
    except psutil.Error:
        return None
    return float(sum(each.user + each.system + each.children_user + each.children_system for each in times))
