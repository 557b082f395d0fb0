"""Rates of the embedded broker alone, in one process: run it with no arguments.

Headers of about 500 bytes and a body of 30, as a task of ``delay(1, 2)`` has.  Each figure is the
best of three rounds, because the machine is shared.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable

from taskd.brokers.base import Broker
from taskd.brokers.factory import connect
from taskd.config.stores import Stores
from taskd.protocol.delivery import Ack, Outgoing

BATCH = 256
TOTAL = 200 * BATCH

HEADERS = json.dumps(
    {
        "lang": "py",
        "task": "shop.tasks.send_receipt",
        "id": "5a0e3d6a-6c0f-4d37-a0d5-2f6b8d1f9c01",
        "shadow": None,
        "eta": None,
        "expires": None,
        "group": None,
        "group_index": None,
        "retries": 0,
        "timelimit": [None, None],
        "root_id": "5a0e3d6a-6c0f-4d37-a0d5-2f6b8d1f9c01",
        "parent_id": None,
        "argsrepr": "(12345, 'someone@example.org')",
        "kwargsrepr": "{}",
        "origin": "gen12345@web1.example.org",
        "ignore_result": False,
        "replaced_task_nesting": 0,
        "stamped_headers": None,
        "stamps": {},
    }
).encode()
BODY = b'[[1, 2], {}, {"callbacks": null}]'


def message(queue: str = "default") -> Outgoing:
    """Return a message as ``delay`` makes it."""
    return Outgoing(
        routing_key=queue,
        headers=HEADERS,
        body=BODY,
        task_id="5a0e3d6a-6c0f-4d37-a0d5-2f6b8d1f9c01",
        correlation_id="5a0e3d6a-6c0f-4d37-a0d5-2f6b8d1f9c01",
    )


def rate(count: int, work: Callable[[], None]) -> float:
    """Return how many of ``count`` things a second ``work`` does."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)


def publish_bulk(broker: Broker, total: int = TOTAL) -> None:
    """Publish in batches."""
    publisher = broker.publisher()
    batch = [message() for _ in range(BATCH)]
    for _ in range(total // BATCH):
        publisher.publish(batch)


def publish_single(broker: Broker, total: int = TOTAL // 4) -> None:
    """Publish one by one."""
    publisher = broker.publisher()
    for _ in range(total):
        publisher.publish((message(),))


def publish_threads(broker: Broker, threads: int = 8, total: int = TOTAL // 4) -> None:
    """Publish one by one from several threads that share a publisher."""
    publisher = broker.publisher()

    def run() -> None:
        for _ in range(total // threads):
            publisher.publish((message(),))

    running = [threading.Thread(target=run) for _ in range(threads)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join()


def drain(broker: Broker, queues: tuple[str, ...] = ("default",)) -> int:
    """Claim and acknowledge everything in batches; return how many."""
    intake = broker.intake("bench", queues)
    done = 0
    while claimed := intake.claim(BATCH):
        refused = intake.settle([Ack(delivery.tag) for delivery in claimed])
        assert not refused
        done += len(claimed)
    intake.close()
    return done


def latency_us(path: str) -> tuple[float, float]:
    """Return median and 99th percentile of publish → claimed in another process, in microseconds."""
    code = (
        "import select, sys, time; from taskd.brokers.factory import connect\n"
        "from taskd.protocol.delivery import Ack; from taskd.config.stores import SqliteConfig, Stores\n"
        f"intake = connect('sqlite://{path}', Stores()).intake('w', ['latency'])\n"
        "print('ready', flush=True)\n"
        "while True:\n"
        "    select.select([intake], [], [], 1.0); intake.clear_wakeups()\n"
        "    for d in intake.claim(16):\n"
        "        print(time.monotonic_ns() - int(d.body), flush=True); intake.settle([Ack(d.tag)])\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    child.stdout.readline()
    publisher = connect(f"sqlite://{path}", Stores()).publisher()
    spans = []
    for _ in range(1000):
        time.sleep(0.002)  # idle between messages: that is what is measured
        body = str(time.monotonic_ns()).encode()
        publisher.publish((Outgoing(routing_key="latency", headers=HEADERS, body=body),))
        spans.append(int(child.stdout.readline()) / 1000)
    child.kill()
    child.wait()
    spans.sort()
    return statistics.median(spans), spans[int(len(spans) * 0.99)]


def figures(broker: Broker) -> dict[str, float]:
    """Return all rates of one round on a fresh broker."""
    several = ("other", "default", "third", "fourth")
    return {
        "bulk publish of 256": rate(TOTAL, lambda: publish_bulk(broker)),
        "claim(256) + settle(256 acks)": rate(TOTAL, lambda: drain_all(broker, ("default",), TOTAL)),
        "single publish": rate(TOTAL // 4, lambda: publish_single(broker)),
        "single publish, 8 threads": rate(TOTAL // 4, lambda: publish_threads(broker)),
        "claim + settle over 4 queues": rate(TOTAL // 2, lambda: drain_all(broker, several, TOTAL // 2)),
    }


def drain_all(broker: Broker, queues: tuple[str, ...], expected: int) -> None:
    """Drain, and fail when messages were lost."""
    done = drain(broker, queues)
    assert done == expected, (done, expected)


def main() -> None:
    """Print all figures."""
    with tempfile.TemporaryDirectory() as directory:
        best: dict[str, float] = {}
        for turn in range(3):
            broker = connect(f"sqlite://{directory}/{turn}.db", Stores())
            for name, value in figures(broker).items():
                best[name] = max(best.get(name, 0.0), value)
            broker.close()
        for name, value in best.items():
            print(f"{name:32} {value:10,.0f} /s")
        median, worst = latency_us(os.path.join(directory, "latency.db"))
        print(f"{'idle publish -> claimed':32} {median:10,.0f} us median, {worst:,.0f} us p99")


if __name__ == "__main__":
    main()
