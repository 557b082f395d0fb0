"""What events cost: drain no-op tasks with task events off, on without a listener, and on with one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import daemon, median, report, wait_for

TASKS = int(os.environ.get("BENCH_TASKS", "60000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
MODES = ("off", "on, nobody listens", "on, one listener")
#: Events that nobody wants may cost so little of the rate.
AIM_UNHEARD = 0.95


def drain(mode: str) -> float:
    """Return tasks a second from the first claim to the last acknowledgement."""
    with daemon("prefork", 2, start=False) as taskd:
        text = taskd.file.read_text()
        if mode != "off":
            taskd.file.write_text(text.replace("concurrency = 2", "concurrency = 2\nevents = true"))
        app = taskd.app()
        app.send_many([app.call("bench.noop") for _ in range(TASKS)])
        desk = taskd.broker().desk()
        listener = _listener(taskd.file) if mode.endswith("one listener") else None
        try:
            taskd.start()
            wait_for(lambda: desk.queues()[0].ready < TASKS, pause_s=0.001)
            start = time.monotonic()
            wait_for(lambda: sum(q.ready + q.claimed for q in desk.queues()) == 0, 120, pause_s=0.01)
            return TASKS / (time.monotonic() - start)
        finally:
            if listener is not None:
                listener.terminate()
                listener.wait()


def _listener(file: Path) -> subprocess.Popen[bytes]:
    """Start a monitor and wait until it listens; it competes with the worker for the processors."""
    command = [str(Path(sys.executable).with_name("taskctl")), "--config", str(file), "events", "--json"]
    started = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    time.sleep(1.0)
    return started


def main() -> None:
    """Print the rates."""
    rates: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(ROUNDS):
        for mode in MODES:
            rates[mode].append(drain(mode))
    off = median(rates["off"])
    for mode, measured in rates.items():
        rate = median(measured)
        reached = rate >= AIM_UNHEARD * off if mode == MODES[1] else True
        report(f"drain, events {mode}", f"{rate:,.0f}/s ({rate / off:.0%})", reached)


if __name__ == "__main__":
    main()
