"""The delay of tasks under constant load while their workers are replaced again and again.

From send to the first line of the task, at the same rate, first undisturbed and then during rolling
restarts (``taskctl restart --rolling``).  Nothing may be lost and nothing may run twice.

A replacement starts Python and imports the task code beside the running worker, so on a machine with few
processors it takes time from it; the third figure shows that alone: the same load while as many interpreters
import the same code and have nothing to do with taskd.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks.harness import ROOT, Daemon, daemon, environment, percentile, report, wait_for
from taskd.supervisor.control.client import ControlClient

ROLLS = int(os.environ.get("BENCH_ROLLS", "50"))
ROUNDS = 10
RATE = float(os.environ.get("BENCH_RATE", "100"))
_IMPORT = [sys.executable, "-c", "import taskd.worker.consumer_step, benchmarks.tasks"]


def delays_while(taskd: Daemon, act: Callable[[], None]) -> list[float]:
    """Return the delay of every task that was sent at a constant rate while ``act`` ran."""
    app = taskd.app()
    app.send_task("bench.append", ("/dev/null", "warm"))
    sent: list[float] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory(prefix="taskd-bench-") as name:
        path = Path(name) / "runs"

        def load() -> None:
            due = time.monotonic()
            while not over.is_set():
                sent.append(time.monotonic())
                app.send_task("bench.append", (str(path), str(len(sent) - 1)))
                due += 1 / RATE
                over.wait(max(0.0, due - time.monotonic()))

        thread = threading.Thread(target=load)
        thread.start()
        try:
            act()
        finally:
            over.set()
            thread.join()
        wait_for(lambda: path.exists() and len(path.read_text().split("\n")) - 1 >= len(sent))
        runs = [line.split() for line in path.read_text().splitlines()]
    app.close()
    if sorted(int(number) for number, _, _ in runs) != list(range(len(sent))):
        raise AssertionError(f"{len(sent)} tasks were sent and {len(runs)} runs were seen")
    return [float(started) - sent[int(number)] for number, _, started in runs]


def roll(taskd: Daemon) -> None:
    """Replace the workers ``ROLLS / ROUNDS`` times, one roll after the other."""
    client = ControlClient(str(taskd.directory / "taskd.sock"))
    for _ in range(ROLLS // ROUNDS):
        client.call("roll", {"name": "bench"})
        wait_for(lambda: client.call("status")["groups"]["bench"]["settled"], pause_s=0.02)  # type: ignore[index]


def import_alone() -> None:
    """Start as many interpreters that import the same, one after the other as worker and template are."""
    for _ in range(ROLLS // ROUNDS):
        subprocess.run(_IMPORT, cwd=ROOT, env=environment(), check=True)
        subprocess.run(_IMPORT, cwd=ROOT, env=environment(), check=True)
        time.sleep(1.0)  # the canary's time


def main() -> None:
    """Print the percentiles of the three, taken in turns because the machine's own noise changes."""
    usual: list[float] = []
    rolling: list[float] = []
    imports: list[float] = []
    with daemon(concurrency=2) as taskd:
        for _ in range(ROUNDS):
            usual += delays_while(taskd, lambda: time.sleep(5))
            rolling += delays_while(taskd, lambda: roll(taskd))
            imports += delays_while(taskd, import_alone)
    for name, delays in (
        ("undisturbed", usual),
        (f"{ROLLS} rolling restarts", rolling),
        ("imports alone", imports),
    ):
        text = f"p50 {percentile(delays, 0.5) * 1e3:.2f} ms  p99 {percentile(delays, 0.99) * 1e3:.2f} ms"
        report(f"delay, {name}", f"{text}  worst {max(delays) * 1e3:.1f} ms  ({len(delays)} tasks)")
    ratio = percentile(rolling, 0.99) / percentile(usual, 0.99)
    report("p99 while rolling / usual p99", f"{ratio:.2f}", ratio <= 2.0)


if __name__ == "__main__":
    main()
