"""How soon a killed child's and a killed worker's task runs again.

No peer in the same run: Huey loses the task of a killed process, so there is nothing to time.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

from benchmarks.harness import Daemon, daemon, percentile, report, wait_for

CHILD_KILLS = int(os.environ.get("BENCH_CHILD_KILLS", "100"))
WORKER_KILLS = int(os.environ.get("BENCH_WORKER_KILLS", "10"))


def _lines(path: Path) -> list[tuple[str, int, float]]:
    """Return (name, pid, monotonic time) of each run that began."""
    if not path.exists():
        return []
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(name, int(pid), float(at)) for name, pid, at in rows]


def _hold(taskd: Daemon, path: Path, name: str) -> int:
    """Send a task that keeps its slot; return the pid in which it runs."""
    taskd.app().send_task("bench.hold_once", (str(path), name))
    wait_for(lambda: any(row[0] == name for row in _lines(path)), pause_s=0.001)
    return next(pid for row_name, pid, _ in _lines(path) if row_name == name)


def _again_at(path: Path, name: str) -> float:
    """Wait for the second run of a task; return when it began."""
    wait_for(lambda: sum(row[0] == name for row in _lines(path)) >= 2, pause_s=0.001)
    return [at for row_name, _, at in _lines(path) if row_name == name][1]


def child_recovery() -> list[float]:
    """Return the seconds from SIGKILL of a child to the second run of its task."""
    delays = []
    with daemon() as taskd:
        path = taskd.directory / "runs"
        for number in range(CHILD_KILLS):
            pid = _hold(taskd, path, f"child-{number}")
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            delays.append(_again_at(path, f"child-{number}") - killed)
    return delays


def worker_recovery() -> list[float]:
    """Return the seconds from SIGKILL of the worker to the second run of its task."""
    delays = []
    for _ in range(WORKER_KILLS):
        with daemon() as taskd:
            path = taskd.directory / "runs"
            _hold(taskd, path, "task")
            worker = int(str(taskd.rows()[0]["pid"]))
            killed = time.monotonic()
            os.kill(worker, signal.SIGKILL)
            delays.append(_again_at(path, "task") - killed)
    return delays


def main() -> None:
    """Print the percentiles."""
    child, worker = child_recovery(), worker_recovery()
    p99 = percentile(child, 0.99)
    text = f"p50 {percentile(child, 0.5) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
    report(f"killed child -> its task again, {len(child)} kills", text, p99 < 0.1)
    worst = max(worker)
    text = f"p50 {percentile(worker, 0.5) * 1000:.0f} ms, worst {worst * 1000:.0f} ms"
    report(f"killed worker -> its task again, {len(worker)} kills", text, worst < 1.5)


if __name__ == "__main__":
    main()
