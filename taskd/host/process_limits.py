"""Finds the limit that refuses a fork: of the control group, of the user, or of the machine.

fork(2) says EAGAIN for all of them; /proc and /sys know more.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path


def used_up(root: Path = Path("/")) -> str:
    """Return which limits of processes this process has reached, and where each is raised; never raises.

    ``root`` is where /proc and /sys lie, for tests.
    """
    found = [*_of_groups(root), *_of_the_user(root), *_of_the_machine(root)]
    return "; ".join(found) or "no limit of processes is used up any more"


def _of_groups(root: Path) -> Iterator[str]:
    """Go through the group and those above it: each has a limit of its own (cgroup v1 and v2)."""
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, controllers, path = (*line.split(":", 2), "", "")[:3]
        if controllers not in {"", "pids"}:
            continue
        mount = root / "sys/fs/cgroup" / controllers
        place = mount / path.strip("/")
        # In a container the path may be that of the host, which is not there: its own group is the mount.
        for directory in [place, *place.parents] if place.is_dir() else [mount]:
            most = _text(directory / "pids.max").strip()
            now = _number(directory / "pids.current")
            if most.isdigit() and now >= int(most):
                name = "/" + str(directory.relative_to(mount)).lstrip(".")
                yield (
                    f"pids.max = {most} of the cgroup {name} is used up: raise it by TasksMax= of the unit, "
                    f"or --pids-limit of the container"
                )
            if directory == mount:
                break


def _of_the_user(root: Path) -> Iterator[str]:
    most = resource.getrlimit(resource.RLIMIT_NPROC)[0]
    if most == resource.RLIM_INFINITY or os.geteuid() == 0:
        return
    now = sum(_threads_of_this_user(root))
    if now >= most:
        yield (
            f"RLIMIT_NPROC = {most} of user {os.geteuid()} is used up ({now} processes and threads): "
            f"raise it by limits.nproc of the worker, or LimitNPROC= of the unit"
        )


def _threads_of_this_user(root: Path) -> Iterator[int]:
    uid = str(os.getuid())
    for status in (root / "proc").glob("[0-9]*/status"):
        fields = dict(line.partition(":")[::2] for line in _text(status).splitlines())
        if fields.get("Uid", "").split()[:1] == [uid]:
            yield int(fields.get("Threads", "1"))


def _of_the_machine(root: Path) -> Iterator[str]:
    # The fourth word of loadavg: what is runnable, a slash, and how many threads there are.
    words = _text(root / "proc/loadavg").split()
    now = int(words[3].partition("/")[2]) if len(words) > 3 else 0
    for name in ("pid_max", "threads-max"):
        most = _number(root / "proc/sys/kernel" / name)
        if most and now >= most:
            yield f"kernel.{name} = {most} of the machine is used up: raise it by sysctl"


def _number(path: Path) -> int:
    text = _text(path).strip()
    return int(text) if text.isdigit() else 0


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
