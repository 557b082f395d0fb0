"""RabbitMQ: drain of no-op tasks, also 2 ms away, one ``delay()`` at a time, and idle latency; with peers.

The peers are Celery and Dramatiq.  All workers have two processes on one machine and the same private server;
no results are kept.  taskd acknowledges after the run and waits for publisher confirms; Celery and Dramatiq
run as they come.  The drain is measured from outside, from the first message that is gone to the last, by the
counts of the server; so is the processor time of all processes of a worker, and of the server, which shares
the machine.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kombu.connection import Connection

from benchmarks import harness
from benchmarks.harness import (
    RESTS,
    ROOT,
    Daemon,
    cpu_s,
    delays,
    deliveries,
    median,
    report,
    report_delays,
    wait_for,
)
from taskd.host import procinfo
from tests.proxy import Proxy
from tests.services import rabbit_server, rabbit_url

TASKS = int(os.environ.get("BENCH_TASKS", "30000"))
PEER_TASKS = int(os.environ.get("BENCH_PEER_TASKS", "8000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SAMPLES = int(os.environ.get("BENCH_SAMPLES", "300"))
_SLOW_S = 0.002


@contextmanager
def daemon(url: str, *, start: bool) -> Iterator[Daemon]:
    """Make a daemon over a virtual host; ready if ``start``."""
    with harness.daemon(url=url, results="sqlite://results.db", start=start) as made:
        yield made


@dataclass(frozen=True)
class Drain:
    """One drain: tasks a second, and microseconds of processor time for each task."""

    rate: float
    worker_us: float
    server_us: float


def tree(pid: int) -> list[int]:
    """Return a process and all below it."""
    return [pid, *procinfo.descendants(pid)]


def drained(url: str, queue: str, count: int, start: Callable[[], int]) -> Drain:
    """Drain a queue by the worker that ``start`` starts; it returns the process."""
    server_process = rabbit_server().process
    assert server_process is not None
    server = tree(server_process.pid)
    with Connection(url) as connection:
        channel = connection.channel()

        def ready() -> int:
            return int(channel.queue_declare(queue=queue, passive=True).message_count)

        wait_for(lambda: ready() == count)
        pid = start()
        wait_for(lambda: ready() < count, pause_s=0.002)
        worker = tree(pid)
        worker_s, server_s, began = cpu_s(worker), cpu_s(server), time.monotonic()
        wait_for(lambda: ready() == 0, 300, pause_s=0.005)
        passed = time.monotonic() - began
        used = [(cpu_s(pids) - before) / count for pids, before in ((worker, worker_s), (server, server_s))]
        return Drain(count / passed, *(1e6 * each for each in used))


def drain_taskd(delay_s: float = 0.0) -> Drain:
    """Drain with taskd, over a server that is ``delay_s`` away."""
    url, port = rabbit_url(), rabbit_server().port
    with closing(Proxy(port, delay_s=delay_s)) as proxy, daemon(url, start=False) as taskd:
        app = taskd.app()
        for first in range(0, TASKS, 1000):
            app.send_many([app.call("bench.noop") for _ in range(first, min(TASKS, first + 1000))])

        def start() -> int:
            if delay_s:
                text = taskd.file.read_text()
                taskd.file.write_text(text.replace(f":{port}/", f":{proxy.port}/"))
            taskd.start()
            return taskd.pids()[0]

        return drained(url, "default", TASKS, start)


def drain_peer(module: str, queue: str, command: list[str]) -> Drain:
    """Drain with a peer whose tasks stand in ``module``."""
    url = rabbit_url()
    environment = {**os.environ, "BENCH_RABBITMQ": url, "PYTHONPATH": str(ROOT)}
    fill = f"from {module} import fill; fill({PEER_TASKS})"
    subprocess.run([sys.executable, "-c", fill], check=True, env=environment, cwd=ROOT)
    started: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        null = subprocess.DEVNULL
        started.append(subprocess.Popen(command, env=environment, cwd=ROOT, stdout=null, stderr=null))
        return started[0].pid

    try:
        return drained(url, queue, PEER_TASKS, start)
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


CELERY = ["-A", "benchmarks.rabbitmq_celery:app", "worker", "-c", "2", "-l", "error"]
DRAMATIQ = ["benchmarks.rabbitmq_dramatiq", "-p", "2", "-t", "4"]


def report_drains() -> None:
    """Drain in turns, and print the medians."""
    drains: dict[str, list[Drain]] = {"taskd": [], "Celery": [], "Dramatiq": []}
    for _ in range(ROUNDS):
        drains["taskd"].append(drain_taskd())
        command = [program("celery"), *CELERY]
        drains["Celery"].append(drain_peer("benchmarks.rabbitmq_celery", "celery", command))
        if importlib.util.find_spec("dramatiq") is not None:
            command = [program("dramatiq"), *DRAMATIQ]
            drains["Dramatiq"].append(drain_peer("benchmarks.rabbitmq_dramatiq", "default", command))
    for name, made in drains.items():
        if made:
            rate = median([each.rate for each in made])
            worker, server = (
                median([each.worker_us for each in made]),
                median([each.server_us for each in made]),
            )
            text = f"{rate:,.0f}/s; processor: worker {worker:.0f} us, server {server:.0f} us a task"
            report(f"drain, {name}", text, rate >= 8000 if name == "taskd" else None)


def main() -> None:
    """Print the figures."""
    rabbit_server()
    report_drains()
    slow = median([drain_taskd(_SLOW_S).rate for _ in range(ROUNDS)])
    report("drain, server 2 ms away", f"{slow:,.0f}/s", slow >= 5000)
    one, bulk = sending()
    report("delay(), confirmed", f"{one:,.0f}/s")
    report("send_many of 1,000, confirmed", f"{bulk:,.0f}/s")
    for name, rest_s in RESTS.items():
        with daemon(rabbit_url(), start=True) as taskd:
            report_delays(name, delays(deliveries(taskd, SAMPLES, rest_s)))


if __name__ == "__main__":
    main()
