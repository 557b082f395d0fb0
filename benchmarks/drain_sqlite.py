"""Drain a full queue of no-op tasks on the embedded broker: taskd beside Huey on SQLite.

Both have two worker processes' worth of slots on one machine.  Huey deletes a task when it pops it,
so a crash loses it; taskd claims under a lease and acknowledges after the run.  No results are kept
on either side (Huey keeps none for None by default).  Rounds alternate; the medians are compared.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.harness import ROOT, daemon, median, report, wait_for

TASKS = int(os.environ.get("BENCH_TASKS", "60000"))
PEER_TASKS = int(os.environ.get("BENCH_PEER_TASKS", "8000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))


def drain_taskd(pool: str, task: str) -> float:
    """Return tasks a second from the first claim to the last acknowledgement."""
    with daemon(pool, start=False) as taskd:
        app = taskd.app()
        app.send_many([app.call(task) for _ in range(TASKS)])
        desk = taskd.broker().desk()
        taskd.start()
        wait_for(lambda: desk.queues()[0].ready < TASKS, pause_s=0.001)
        start = time.monotonic()
        wait_for(lambda: sum((q.ready + q.claimed) for q in desk.queues()) == 0, 120, pause_s=0.01)
        return TASKS / (time.monotonic() - start)


def drain_huey(workers: str) -> float:
    """Return tasks a second of huey_consumer with two workers, from its first pop to its last."""
    from benchmarks import huey_tasks

    with tempfile.TemporaryDirectory(prefix="huey-bench-") as name:
        path = str(Path(name) / "huey.db")
        queue = huey_tasks.open_queue(path)
        for _ in range(PEER_TASKS):
            huey_tasks.enqueue_noop(queue)
        environment = {**os.environ, "BENCH_HUEY_DB": path, "PYTHONPATH": str(ROOT)}
        command = [str(Path(sys.executable).with_name("huey_consumer")), "benchmarks.huey_tasks.huey"]
        consumer = subprocess.Popen(
            [*command, "-w", "2", "-k", workers, "-q", "-n"],
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            wait_for(lambda: queue.pending_count() < PEER_TASKS, pause_s=0.001)
            start = time.monotonic()
            wait_for(lambda: queue.pending_count() == 0, 300, pause_s=0.01)
            return PEER_TASKS / (time.monotonic() - start)
        finally:
            consumer.terminate()
            consumer.wait()


def main() -> None:
    """Print the rates and the ratio."""
    ours, kept, theirs, threads = [], [], [], []
    for _ in range(ROUNDS):
        ours.append(drain_taskd("prefork", "bench.noop"))
        theirs.append(drain_huey("process"))
        kept.append(drain_taskd("prefork", "bench.noop_kept"))
        threads.append(drain_huey("thread"))
    rate, peer = median(ours), max(median(theirs), median(threads))
    report("drain, prefork 2, no results", f"{rate:,.0f}/s", rate >= 30_000)
    report("drain, prefork 2, results kept", f"{median(kept):,.0f}/s")
    report("drain, Huey SQLite, 2 processes", f"{median(theirs):,.0f}/s")
    report("drain, Huey SQLite, 2 threads", f"{median(threads):,.0f}/s")
    report("ratio to the better Huey", f"{rate / peer:.1f} x", rate >= 8 * peer)


if __name__ == "__main__":
    main()
