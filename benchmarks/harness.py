"""Start a daemon for a benchmark, and read facts about its processes."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from taskd import App
from taskd.brokers.base import Broker
from taskd.brokers.factory import connect
from taskd.config.load import load
from taskd.host import procinfo
from taskd.supervisor.control.client import ControlClient

ROOT = Path(__file__).resolve().parent.parent

_FILE = """
app = "benchmarks.tasks:app"
broker = "{broker}"
results = "{results}"
[supervisor]
control_socket = "taskd.sock"
[log]
level = "error"
[sqlite]
durability = "{durability}"
[worker.bench]
queues = ["default"]
pool = "{pool}"
concurrency = {concurrency}
"""


@dataclass
class Daemon:
    """One configuration in a directory of its own, and the process when it runs."""

    directory: Path
    process: subprocess.Popen[bytes] | None = None

    @property
    def file(self) -> Path:
        """The configuration file."""
        return self.directory / "taskd.toml"

    def app(self) -> App:
        """Return a client of this daemon."""
        return App(config=str(self.file))

    def broker(self) -> Broker:
        """Return the broker, for a look at its queues."""
        config = load(str(self.file))
        return connect(config.broker, config.stores)

    def start(self) -> None:
        """Start the process; ``wait_ready`` waits."""
        command = [sys.executable, "-m", "taskd", "--config", str(self.file)]
        self.process = subprocess.Popen(command, cwd=ROOT, env=environment())

    def rows(self) -> list[dict[str, object]]:
        """Return the programs of ``taskctl status``, none while the daemon is not up."""
        try:
            client = ControlClient(str(self.directory / "taskd.sock"))
            answer: Any = client.call("status", {}, timeout_s=5.0)
            return list(answer["programs"])
        except Exception:
            return []

    def wait_ready(self, timeout_s: float = 30.0) -> None:
        """Return when every program is READY."""
        wait_for(lambda: (rows := self.rows()) and all(row["state"] == "READY" for row in rows), timeout_s)

    def stop(self) -> None:
        """Stop warmly."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
            self.process = None

    def pids(self) -> list[int]:
        """Return the supervisor and everything below it."""
        assert self.process is not None
        return [self.process.pid, *procinfo.descendants(self.process.pid)]


def environment() -> dict[str, str]:
    """Return the environment of what is measured: byte code is kept, as that of an installed package is.

    Without it every start compiles all that it imports, which takes as long again as the import.
    """
    return {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}


@contextmanager
def daemon(
    pool: str = "prefork",
    concurrency: int = 2,
    *,
    durability: str = "normal",
    start: bool = True,
    url: str = "",
    results: str = "",
) -> Iterator[Daemon]:
    """Make a daemon in a temporary directory, ready unless ``start`` is off; end it afterwards.

    ``url`` is of the broker, and of the results unless they have their own; without one both are files in
    the directory.
    """
    with tempfile.TemporaryDirectory(prefix="taskd-bench-") as name:
        made = Daemon(Path(name))
        stores = {"broker": url or "sqlite://broker.db", "results": results or url or "sqlite://results.db"}
        made.file.write_text(
            _FILE.format(pool=pool, concurrency=concurrency, durability=durability, **stores)
        )
        try:
            if start:
                made.start()
                made.wait_ready()
            yield made
        finally:
            made.stop()


#: Between two messages, long enough for every part to fall asleep again.
REST_S = 0.01
RESTS = {"one by one": 0.0, "after 10 ms of rest": REST_S}


def deliveries(taskd: Daemon, samples: int, rest_s: float) -> list[tuple[float, float]]:
    """Return when each message was sent and when its task began, one after the other, with a rest after each.

    Both are of the machine's monotonic clock.  Nothing else runs in the daemon.
    """
    times = []
    app = taskd.app()
    for number in range(samples + 20):
        sent = time.monotonic()
        started = app.send_task("bench.started_at").get(timeout=10)
        assert isinstance(started, float)
        if number >= 20:  # the first ones warm up both ends
            times.append((sent, started))
        if rest_s:
            time.sleep(rest_s)
    return times


def delays(times: Sequence[tuple[float, float]]) -> list[float]:
    """Return the seconds from send to start."""
    return [started - sent for sent, started in times]


def report_delays(name: str, measured: Sequence[float]) -> None:
    """Print the percentiles of send -> start."""
    for share, aim_s in ((0.5, 0.001), (0.99, 0.005)):
        found = percentile(measured, share)
        report(f"send -> start, {name}, p{share * 100:.0f}", f"{found * 1000:.2f} ms", found < aim_s)


@contextmanager
def huey_consumer(path: str, *, fsync: str = "", periodic: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run Huey's consumer with two processes over the queue in a file; ``fsync`` as in ``huey_tasks``."""
    environment = {**os.environ, "BENCH_HUEY_DB": path, "BENCH_HUEY_FSYNC": fsync, "PYTHONPATH": str(ROOT)}
    command = [str(Path(sys.executable).with_name("huey_consumer")), "benchmarks.huey_tasks.huey"]
    consumer = subprocess.Popen(
        [*command, "-w", "2", "-k", "process", "-q", *([] if periodic else ["-n"])],
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield consumer
    finally:
        consumer.terminate()
        consumer.wait()


def wait_for(condition: Callable[[], object], timeout_s: float = 60.0, pause_s: float = 0.002) -> None:
    """Return when the condition is true; a benchmark that hangs ends with an error."""
    end = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not true within {timeout_s} s")
        time.sleep(pause_s)


def cpu_s(pids: Sequence[int]) -> float:
    """Return the processor time that the processes have used so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    total = 0
    for pid in pids:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / ticks


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which ``share`` of the values lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def report(name: str, text: str, verdict: bool | None = None) -> None:
    """Print one figure; with a verdict, whether the aim of the design was reached."""
    mark = {True: "reached", False: "MISSED", None: ""}[verdict]
    print(f"{name:<42} {text:<52} {mark}", flush=True)
