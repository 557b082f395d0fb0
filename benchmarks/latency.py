"""From send to the first line of the task, on an idle daemon; Huey's SQLite consumer beside it."""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

from benchmarks.harness import (
    REST_S,
    RESTS,
    daemon,
    delays,
    deliveries,
    huey_consumer,
    percentile,
    report,
    report_delays,
)

SAMPLES = int(os.environ.get("BENCH_SAMPLES", "500"))
PEER_SAMPLES = 50


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
                time.sleep(REST_S)
    return delays


def main() -> None:
    """Print the percentiles.

    One after the other is how peers publish this figure (send, wait for the answer, send the next).
    After a pause the processors' caches are cold in all three processes: the same instructions take
    two to four times as long, most on a machine that is shared.
    """
    for name, rest_s in RESTS.items():
        with daemon() as taskd:
            report_delays(name, delays(deliveries(taskd, SAMPLES, rest_s)))
    peer = percentile(latencies_huey(), 0.5) * 1000
    report("send -> start, Huey p50", f"{peer:.2f} ms")


if __name__ == "__main__":
    main()
