"""Drain a full queue of no-op tasks on the embedded broker: taskd beside Huey on SQLite.

Both have two worker processes' worth of slots on one machine, and the same durability in each pair:
safe against a power cut (taskd "full", Huey as it comes), and safe against the crash of a process
(taskd "normal", Huey with fsync off).  Huey deletes a task when it pops it, so the crash of a worker
loses it all the same; taskd claims under a lease and acknowledges after the run.  No results are
kept, but where a line says so.  Rounds alternate; medians are compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import ROOT, daemon, huey_consumer, median, report, wait_for

TASKS = int(os.environ.get("BENCH_TASKS", "60000"))
PEER_TASKS = int(os.environ.get("BENCH_PEER_TASKS", "8000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def drain_taskd(task: str, durability: str) -> float:
    """Return tasks a second from the first claim to the last acknowledgement."""
    with daemon(durability=durability, start=False) as taskd:
        app = taskd.app()
        app.send_many([app.call(task) for _ in range(TASKS)])
        desk = taskd.broker().desk()
        taskd.start()
        wait_for(lambda: desk.queues()[0].ready < TASKS, pause_s=0.001)
        start = time.monotonic()
        wait_for(lambda: sum((q.ready + q.claimed) for q in desk.queues()) == 0, 120, pause_s=0.01)
        return TASKS / (time.monotonic() - start)


def drain_huey(fsync: str) -> float:
    """Return tasks a second of huey_consumer with two processes, from its first pop to its last."""
    script = (
        "import sys; from benchmarks import huey_tasks as t; q = t.open_queue(sys.argv[1]);"
        "[t.enqueue_noop(q) for _ in range(int(sys.argv[2]))]"
    )
    with tempfile.TemporaryDirectory(prefix="huey-bench-") as name:
        path = str(Path(name) / "huey.db")
        fill = [sys.executable, "-c", script, path, str(PEER_TASKS)]
        environment = {**os.environ, "BENCH_HUEY_DB": path, "BENCH_HUEY_FSYNC": "off"}
        subprocess.run(fill, check=True, cwd=ROOT, env=environment)
        from benchmarks import huey_tasks

        queue = huey_tasks.open_queue(path)
        with huey_consumer(path, fsync=fsync):
            wait_for(lambda: queue.pending_count() < PEER_TASKS, pause_s=0.001)
            start = time.monotonic()
            wait_for(lambda: queue.pending_count() == 0, 300, pause_s=0.01)
            return PEER_TASKS / (time.monotonic() - start)


def main() -> None:
    """Print the rates and the ratios."""
    normal, full, kept, huey_off, huey = [], [], [], [], []
    for _ in range(ROUNDS):
        normal.append(drain_taskd("bench.noop", "normal"))
        huey_off.append(drain_huey("off"))
        full.append(drain_taskd("bench.noop", "full"))
        huey.append(drain_huey(""))
        kept.append(drain_taskd("bench.noop_kept", "normal"))
    report("drain, normal durability", f"{median(normal):,.0f}/s", median(normal) >= 30_000)
    report("drain, normal durability, results kept", f"{median(kept):,.0f}/s")
    report("drain, Huey with fsync off", f"{median(huey_off):,.0f}/s")
    report("  ratio", f"{median(normal) / median(huey_off):.1f} x")
    report("drain, full durability", f"{median(full):,.0f}/s")
    report("drain, Huey as it comes", f"{median(huey):,.0f}/s")
    ratio = median(full) / median(huey)
    report("  ratio", f"{ratio:.1f} x", ratio >= 8)


if __name__ == "__main__":
    main()
