"""What it costs a client to collect results, and a batch of small CPU tasks beside ``ProcessPoolExecutor``.

Collecting: a second process stores the results meanwhile, as a worker does, in batches of 50; measured is the
processor time of the client alone, from the first question to the last value.  The number of results must not
matter.

Batch: ``app.map`` over a daemon with two processes, with a message for each item and in chunks, beside
``ProcessPoolExecutor.map`` with two processes in the same run, with and without chunks; wall clock.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

from benchmarks.harness import ROOT, cpu_s, daemon, report
from benchmarks.tasks import app as tasks
from benchmarks.tasks import busy, spin
from taskd import App
from taskd.host import procinfo
from tests.services import RedisServer

COUNTS = tuple(map(int, os.environ.get("BENCH_COUNTS", "1000,10000,100000").split(",")))
ITEMS = int(os.environ.get("BENCH_ITEMS", "50000"))
CHUNK = int(os.environ.get("BENCH_CHUNK", "100"))
WORK_S = 0.0007

_STORE = """
import sys, time
from taskd import App
from taskd.protocol.results import success_record
from taskd.results.base import StoredResult
store = App(broker="memory://", results=sys.argv[1]).connections.results()
names = [str(number) for number in range(int(sys.argv[2]))]
for first in range(0, len(names), 50):
    part = names[first : first + 50]
    store.store([StoredResult(each, "SUCCESS", success_record(each, 1, done_at=0.0), None) for each in part])
    time.sleep(0.002)
"""


def collect(url: str, count: int) -> float:
    """Return the milliseconds of processor time for each result of that many."""
    app = App(broker="memory://", results=url)
    results = [app.result(str(number)) for number in range(count)]
    results[0].ready()  # imports and connects
    worker = subprocess.Popen([sys.executable, "-c", _STORE, url, str(count)], cwd=ROOT)
    start = time.process_time()
    values = app.gather(results, timeout=300)
    spent = time.process_time() - start
    assert len(values) == count
    worker.wait()
    app.close()
    return spent * 1000 / count


class Spent(NamedTuple):
    """What one batch took, in seconds: by the clock, and of the processors."""

    wall_s: float
    cpu_s: float


def spent(work: Callable[[], object], pids: Sequence[int]) -> Spent:
    """Return what the work takes in this process and in others."""
    everybody = [os.getpid(), *pids]
    start, before_s = time.monotonic(), cpu_s(everybody)
    work()
    return Spent(time.monotonic() - start, cpu_s(everybody) - before_s)


def of_the_peer(chunk: int) -> Spent:
    """Map over ``ProcessPoolExecutor``."""
    with ProcessPoolExecutor(2) as pool:
        list(pool.map(busy, [0.0] * 100))
        pids = procinfo.descendants(os.getpid())
        return spent(lambda: list(pool.map(busy, [WORK_S] * ITEMS, chunksize=chunk)), pids)


def of_taskd(results: str, chunk: int | None) -> Spent:
    """Map over a daemon."""
    with daemon(url=results) as taskd:
        tasks.bind_config(taskd.app().config)
        tasks.map(spin, [0.0] * 100, timeout=60)
        found = spent(lambda: tasks.map(spin, [WORK_S] * ITEMS, chunk=chunk, timeout=1000), taskd.pids())
        tasks.close()
        return found


def batch(url: str, chunk: int | None) -> None:
    """Print what a batch takes, beside the peer just before."""
    peer, ours = of_the_peer(chunk or 1), of_taskd(url, chunk)
    where = f"{url.partition(':')[0] or 'sqlite'}, {f'chunks of {chunk}' if chunk else 'a message each'}"
    text = f"{ours.wall_s:.1f} s beside {peer.wall_s:.1f} s"
    ratio = ours.wall_s / peer.wall_s
    report(f"{ITEMS:,} x 0.7 ms, {where}", f"{text}: {ratio:.2f} x", ratio <= 1.3)
    text = f"{ours.cpu_s:.1f} s beside {peer.cpu_s:.1f} s: {ours.cpu_s / peer.cpu_s:.2f} x"
    report("  processor time of all processes", text)


def main() -> None:
    """Print the costs and the ratios."""
    server = RedisServer()
    try:
        for count in COUNTS:
            with tempfile.TemporaryDirectory(prefix="taskd-bench-") as name:
                for url in (f"sqlite://{Path(name)}/results.db", server.url):
                    each_ms = collect(url, count)
                    where = url.partition(":")[0]
                    report(f"collect {count:,} results, {where}", f"{each_ms:.4f} ms each", each_ms <= 0.05)
        for url in ("", server.url):
            for chunk in (None, CHUNK):
                batch(url, chunk)
    finally:
        server.end()


if __name__ == "__main__":
    main()
