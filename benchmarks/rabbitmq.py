"""RabbitMQ: drain of no-op tasks, one ``delay()`` at a time, and idle latency; Celery and Dramatiq beside it.

All workers have two processes on one machine and the same private server; no results are kept.  taskd
acknowledges after the run and waits for publisher confirms; Celery and Dramatiq run as they come.  The drain
is measured from outside, from the first message that is gone to the last, by the counts of the server.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kombu import Connection

from benchmarks.harness import ROOT, Daemon, median, percentile, report, wait_for
from tests.services import rabbit_server, rabbit_url

TASKS = int(os.environ.get("BENCH_TASKS", "30000"))
PEER_TASKS = int(os.environ.get("BENCH_PEER_TASKS", "8000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SAMPLES = int(os.environ.get("BENCH_SAMPLES", "300"))
_QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}

_FILE = """
app = "benchmarks.tasks:app"
broker = "{url}"
results = "sqlite://results.db"
[supervisor]
control_socket = "taskd.sock"
[log]
level = "error"
[worker.bench]
queues = ["default"]
pool = "prefork"
concurrency = 2
"""


@contextmanager
def daemon(url: str, *, start: bool) -> Iterator[Daemon]:
    """Make a daemon over a virtual host; ready if ``start``."""
    with tempfile.TemporaryDirectory(prefix="taskd-bench-") as name:
        made = Daemon(Path(name))
        made.file.write_text(_FILE.format(url=url))
        try:
            if start:
                made.start()
                made.wait_ready()
            yield made
        finally:
            made.stop()


def drained(url: str, queue: str, count: int, start: Callable[[], None]) -> float:
    """Start a worker and return the tasks a second, by what waits in the queue."""
    with Connection(url) as connection:
        channel = connection.channel()

        def ready() -> int:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)

        wait_for(lambda: ready() == count)
        start()
        wait_for(lambda: ready() < count, pause_s=0.002)
        began = time.monotonic()
        wait_for(lambda: ready() == 0, 300, pause_s=0.005)
        return count / (time.monotonic() - began)


def drain_taskd() -> float:
    """Return tasks a second of taskd."""
    url = rabbit_url()
    with daemon(url, start=False) as taskd:
        app = taskd.app()
        for first in range(0, TASKS, 1000):
            app.send_many([app.call("bench.noop") for _ in range(first, min(TASKS, first + 1000))])
        return drained(url, "default", TASKS, taskd.start)


def drain_peer(module: str, queue: str, command: list[str]) -> float:
    """Return tasks a second of a peer whose tasks stand in ``module``."""
    url = rabbit_url()
    environment = {**os.environ, "BENCH_RABBITMQ": url, "PYTHONPATH": str(ROOT)}
    fill = f"from {module} import fill; fill({PEER_TASKS})"
    subprocess.run([sys.executable, "-c", fill], check=True, env=environment, cwd=ROOT)
    started: list[subprocess.Popen[bytes]] = []
    try:
        return drained(
            url,
            queue,
            PEER_TASKS,
            lambda: started.append(subprocess.Popen(command, env=environment, cwd=ROOT, **_QUIET)),
        )
    finally:
        for process in started:
            process.terminate()
            process.wait()


def program(name: str) -> str:
    """Return the path of a peer's program beside this Python."""
    return str(Path(sys.executable).with_name(name))


def sending() -> tuple[float, float]:
    """Return calls a second, one at a time and in bulk."""
    with daemon(rabbit_url(), start=False) as taskd:
        app = taskd.app()
        app.send_task("bench.noop")
        began = time.monotonic()
        for _ in range(5000):
            app.send_task("bench.noop")
        one = 5000 / (time.monotonic() - began)
        calls = [app.call("bench.noop") for _ in range(TASKS)]
        began = time.monotonic()
        for first in range(0, TASKS, 1000):
            app.send_many(calls[first : first + 1000])
        return one, TASKS / (time.monotonic() - began)


def latencies() -> list[float]:
    """Return the seconds from send to the start of the task, one after the other."""
    delays = []
    with daemon(rabbit_url(), start=True) as taskd:
        app = taskd.app()
        for number in range(SAMPLES + 20):
            sent = time.monotonic()
            began = app.send_task("bench.started_at").get(timeout=10)
            assert isinstance(began, float)
            if number >= 20:
                delays.append(began - sent)
    return delays


def main() -> None:
    """Print the figures."""
    rabbit_server()
    ours, celery, dramatiq = [], [], []
    for _ in range(ROUNDS):
        ours.append(drain_taskd())
        worker = [
            program("celery"),
            "-A",
            "benchmarks.rabbitmq_celery:app",
            "worker",
            "-c",
            "2",
            "-l",
            "error",
        ]
        celery.append(drain_peer("benchmarks.rabbitmq_celery", "celery", worker))
        if importlib.util.find_spec("dramatiq") is not None:
            worker = [program("dramatiq"), "benchmarks.rabbitmq_dramatiq", "-p", "2", "-t", "4"]
            dramatiq.append(drain_peer("benchmarks.rabbitmq_dramatiq", "default", worker))
    report("drain", f"{median(ours):,.0f}/s", median(ours) >= 8000)
    report("drain, Celery", f"{median(celery):,.0f}/s")
    if dramatiq:
        report("drain, Dramatiq", f"{median(dramatiq):,.0f}/s")
    one, bulk = sending()
    report("delay(), confirmed", f"{one:,.0f}/s")
    report("send_many of 1,000, confirmed", f"{bulk:,.0f}/s")
    delays = latencies()
    p50, p99 = percentile(delays, 0.5) * 1000, percentile(delays, 0.99) * 1000
    report("send -> start, one by one, p50", f"{p50:.2f} ms", p50 < 1.0)
    report("send -> start, one by one, p99", f"{p99:.2f} ms", p99 < 5.0)


if __name__ == "__main__":
    main()
