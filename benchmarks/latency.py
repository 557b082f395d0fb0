"""From send to the first line of the task, on an idle daemon; Huey's SQLite consumer beside it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.harness import daemon, huey_consumer, percentile, report

SAMPLES = int(os.environ.get("BENCH_SAMPLES", "500"))
PEER_SAMPLES = 50
#: Long enough for every part to fall asleep again.
_PAUSE_S = 0.01


def latencies_taskd(pause_s: float) -> list[float]:
    """Return the delays in seconds, with a pause after each answer."""
    delays = []
    with daemon() as taskd:
        app = taskd.app()
        for number in range(SAMPLES + 20):
            sent = time.monotonic()
            result = app.send_task("bench.started_at")
            started = result.get(timeout=10)
            assert isinstance(started, float)
            if number >= 20:  # the first ones warm up both ends
                delays.append(started - sent)
            if pause_s:
                time.sleep(pause_s)
    return delays


def latencies_huey() -> list[float]:
    """Return the delays in seconds, polled as often as Huey's own option allows by default."""
    from benchmarks import huey_tasks

    delays = []
    with tempfile.TemporaryDirectory(prefix="huey-bench-") as name:
        path = str(Path(name) / "huey.db")
        queue = huey_tasks.open_queue(path)
        with huey_consumer(path):
            for number in range(PEER_SAMPLES + 2):
                sent = time.monotonic()
                result = huey_tasks.enqueue_started_at(queue)
                started = result.get(blocking=True, timeout=30)  # type: ignore[attr-defined]
                if number >= 2:
                    delays.append(started - sent)
                time.sleep(_PAUSE_S)
    return delays


def main() -> None:
    """Print the percentiles.

    One after the other is how peers publish this figure (send, wait for the answer, send the next).
    After a pause the processors' caches are cold in all three processes: the same instructions take
    two to four times as long, most on a machine that is shared.
    """
    for name, pause_s in (("one by one", 0.0), ("after 10 ms of rest", _PAUSE_S)):
        ours = latencies_taskd(pause_s)
        p50, p99 = percentile(ours, 0.5) * 1000, percentile(ours, 0.99) * 1000
        report(f"send -> start, {name}, p50", f"{p50:.2f} ms", p50 < 1.0)
        report(f"send -> start, {name}, p99", f"{p99:.2f} ms", p99 < 5.0)
    peer = percentile(latencies_huey(), 0.5) * 1000
    report("send -> start, Huey p50", f"{peer:.2f} ms")


if __name__ == "__main__":
    main()
