"""Start-up time, memory and idle processor use of the whole tree; Huey's consumer beside it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.harness import cpu_s, daemon, huey_consumer, median, report, wait_for
from taskd.host import procinfo

STARTS = 5
IDLE_S = float(os.environ.get("BENCH_IDLE_S", "20"))


def start_to_first_task() -> float:
    """Return the seconds from exec of the daemon to the first line of a task that was waiting."""
    with daemon(start=False) as taskd:
        mark = taskd.directory / "mark"
        taskd.app().send_task("bench.mark", (str(mark),))
        begun = time.monotonic()
        taskd.start()
        wait_for(mark.exists, 30, pause_s=0.001)
        return float(mark.read_text()) - begun


def resting() -> tuple[float, float]:
    """Return PSS in MB after 2,000 tasks, and the share of a core used while idle."""
    with daemon() as taskd:
        app = taskd.app()
        app.send_many([app.call("bench.noop") for _ in range(2000)])
        desk = taskd.broker().desk()
        wait_for(lambda: sum((q.ready + q.claimed) for q in desk.queues()) == 0)
        pids = taskd.pids()
        pss = sum(procinfo.pss_bytes(pid) for pid in pids)
        time.sleep(2.0)  # let the last heartbeats of the busy time pass
        before = cpu_s(pids)
        time.sleep(IDLE_S)
        return pss / 1e6, (cpu_s(pids) - before) / IDLE_S


def huey_memory() -> float:
    """Return PSS in MB of huey_consumer with two worker processes."""
    with (
        tempfile.TemporaryDirectory(prefix="huey-bench-") as name,
        huey_consumer(str(Path(name) / "huey.db"), periodic=True) as consumer,
    ):
        wait_for(lambda: len(procinfo.descendants(consumer.pid)) >= 3)
        pids = [consumer.pid, *procinfo.descendants(consumer.pid)]
        return sum(procinfo.pss_bytes(pid) for pid in pids) / 1e6


def main() -> None:
    """Print the figures."""
    start_s = median([start_to_first_task() for _ in range(STARTS)])
    report("daemon start -> first task runs", f"{start_s * 1000:.0f} ms (median of {STARTS})", start_s < 0.6)
    pss_mb, idle = resting()
    report("PSS, supervisor + worker + template + 2", f"{pss_mb:.1f} MB", pss_mb <= 60)
    report("PSS, Huey consumer + scheduler + 2", f"{huey_memory():.1f} MB (no supervisor)")
    report("idle processor use of the tree", f"{idle * 100:.2f} % of a core", idle < 0.005)


if __name__ == "__main__":
    main()
