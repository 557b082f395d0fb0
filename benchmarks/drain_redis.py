"""Redis: draining a full queue, sending one by one and in bulk, idle latency, and a server 2 ms away.

Beside taskd run Celery's prefork worker with two children and late acknowledgement, and Huey's consumer with
two processes (which deletes a task when it takes it).  All on one private server without persistence.  Rounds
alternate; medians are compared.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from redis import Redis

from benchmarks.harness import (
    REST_S,
    RESTS,
    ROOT,
    daemon,
    delays,
    deliveries,
    median,
    percentile,
    report,
    report_delays,
    wait_for,
)
from tests.proxy import Proxy
from tests.services import RedisServer

TASKS = int(os.environ.get("BENCH_TASKS", "60000"))
PEER_TASKS = int(os.environ.get("BENCH_PEER_TASKS", "5000"))
SLOW_TASKS = TASKS // 3
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
SAMPLES = int(os.environ.get("BENCH_SAMPLES", "300"))
PEER_SAMPLES = 100


def drain_taskd(url: str, tasks: int) -> float:
    """Return tasks a second from the first claim to the last acknowledgement."""
    with daemon(start=False, url=url) as taskd:
        app = taskd.app()
        app.send_many([app.call("bench.noop") for _ in range(tasks)])
        desk = taskd.broker().desk()
        taskd.start()
        wait_for(lambda: desk.queues()[0].ready < tasks, pause_s=0.001)
        start = time.monotonic()
        wait_for(lambda: sum((q.ready + q.claimed) for q in desk.queues()) == 0, 120, pause_s=0.01)
        return tasks / (time.monotonic() - start)


@contextmanager
def peer(url: str, *command: str) -> Iterator[None]:
    """Run a peer's worker over the database of a URL."""
    environment = {**os.environ, "BENCH_REDIS": url, "PYTHONPATH": str(ROOT)}
    null = subprocess.DEVNULL
    process = subprocess.Popen(
        command, env=environment, cwd=ROOT, start_new_session=True, stdout=null, stderr=null
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # there is nothing left that it could lose
        process.wait()


def drain_peer(client: Redis, key: str, url: str, *command: str) -> float:
    """Return tasks a second from the first that is taken to the last that is taken off the list."""
    with peer(url, *command):
        wait_for(lambda: client.llen(key) < PEER_TASKS, pause_s=0.001)
        start = time.monotonic()
        wait_for(lambda: client.llen(key) == 0, 120, pause_s=0.01)
        return PEER_TASKS / (time.monotonic() - start)


def fill(name: str, url: str, count: int) -> float:
    """Send in a process of its own, one by one; return the sends a second."""
    script = (
        "import sys, time; from benchmarks import redis_peers as p;"
        "send = p.celery_noop.delay if sys.argv[1] == 'celery' else p.huey_noop; send();"
        "start = time.perf_counter(); [send() for _ in range(int(sys.argv[2]) - 1)];"
        "print(int(sys.argv[2]) / (time.perf_counter() - start))"
    )
    environment = {**os.environ, "BENCH_REDIS": url}
    command = [sys.executable, "-c", script, name, str(count)]
    done = subprocess.run(command, check=True, cwd=ROOT, env=environment, stdout=subprocess.PIPE)
    return float(done.stdout)


def rate(count: int, send: Callable[[], object]) -> float:
    """Return how many of ``count`` sends are done in a second by a call."""
    started = time.perf_counter()
    send()
    return count / (time.perf_counter() - started)


def sends_taskd(url: str) -> tuple[float, float]:
    """Return the sends a second, one at a time and in bulk."""
    with daemon(start=False, url=url) as taskd:
        app = taskd.app()
        app.send_task("bench.noop", ignore_result=True)
        single = rate(10_000, lambda: [app.send_task("bench.noop") for _ in range(10_000)])
        bulk = rate(50_000, lambda: app.send_many(app.call("bench.noop") for _ in range(50_000)))
        app.close()
        return single, bulk


def delays_taskd(url: str, rest_s: float) -> list[float]:
    """Return the seconds from send to the start of the task on an idle daemon."""
    with daemon(url=url) as taskd:
        return delays(deliveries(taskd, SAMPLES, rest_s))


def delays_peer(name: str, url: str, *command: str) -> list[float]:
    """Return the seconds from send to the start of a peer's task, with a rest after each."""
    script = f"from benchmarks import redis_peers as p; p.print_delays({name!r}, {PEER_SAMPLES}, {REST_S})"
    with peer(url, *command):
        done = subprocess.run(
            [sys.executable, "-c", script],
            check=True,
            cwd=ROOT,
            env={**os.environ, "BENCH_REDIS": url},
            stdout=subprocess.PIPE,
        )
    return [float(delay) for delay in json.loads(done.stdout)]


def main() -> None:
    """Print the rates and the ratios."""
    server = RedisServer()
    client = Redis(port=server.port)
    bin_ = Path(sys.executable).parent
    celery = (str(bin_ / "celery"), "-A", "benchmarks.redis_peers", "worker", "-P", "prefork", "-c", "2")
    huey = (
        str(bin_ / "huey_consumer"),
        "benchmarks.redis_peers.huey",
        "-w",
        "2",
        "-k",
        "process",
        "-q",
        "-n",
    )
    ours, far, theirs, hueys, singles, bulks, celery_sends, huey_sends = ([] for _ in range(8))
    with closing(client), closing(Proxy(server.port, delay_s=0.002)) as proxy:
        try:
            for _ in range(ROUNDS):
                client.flushall()
                ours.append(drain_taskd(server.url, TASKS))
                client.flushall()
                celery_sends.append(fill("celery", server.url, PEER_TASKS))
                theirs.append(drain_peer(client, "celery", server.url, *celery))
                client.flushall()
                huey_sends.append(fill("huey", server.url, PEER_TASKS))
                hueys.append(drain_peer(client, "huey.redis.bench", server.url, *huey))
                client.flushall()
                single, bulk = sends_taskd(server.url)
                singles.append(single)
                bulks.append(bulk)
                client.flushall()
                far.append(drain_taskd(f"redis://127.0.0.1:{proxy.port}/0", SLOW_TASKS))
            client.flushall()
            waits = {name: delays_taskd(server.url, rest_s) for name, rest_s in RESTS.items()}
            client.flushall()
            peer_waits = {
                "Celery": delays_peer("celery", server.url, *celery),
                "Huey": delays_peer("huey", server.url, *huey),
            }
        finally:
            server.end()
    report("drain, Redis", f"{median(ours):,.0f}/s", median(ours) >= 30_000)
    report("drain, Redis, 2 ms added to a round trip", f"{median(far):,.0f}/s", median(far) >= 5_000)
    for name, peers in (("Celery", theirs), ("Huey", hueys)):
        report(f"drain, {name}", f"{median(peers):,.0f}/s")
        report("  ratio", f"{median(ours) / median(peers):.1f} x")
    report("delay(), Redis", f"{median(singles):,.0f}/s", median(singles) >= 8_000)
    report("send_many(), Redis", f"{median(bulks):,.0f}/s", median(bulks) >= 50_000)
    report("delay(), Celery", f"{median(celery_sends):,.0f}/s")
    report("delay(), Huey", f"{median(huey_sends):,.0f}/s")
    for name, found in waits.items():
        report_delays(name, found)
    for name, found in peer_waits.items():
        report(f"send -> start, {name}, rested, p50", f"{percentile(found, 0.5) * 1000:.2f} ms")


if __name__ == "__main__":
    main()
