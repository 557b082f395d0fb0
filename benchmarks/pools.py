"""How many no-op jobs a second each pool runs, and what one costs the parent.

python benchmarks/pools.py [JOBS]
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from taskd.base.lifecycle import Deadline
from taskd.base.loop import Loop
from taskd.pools.base import Job, Outcome, Pool
from taskd.pools.prefork.pool import PreforkPool
from taskd.pools.solo import SoloPool
from taskd.pools.threads import ThreadsPool

PAYLOAD = b"x" * 700
IN_POOL = 2000
STEP = 250


def no_op(_payload: bytes) -> bytes:
    return b""


def prefork(_target: object) -> Pool:
    return PreforkPool(
        2,
        [sys.executable, "-m", "tests.component.prefork_template", "noop"],
        environment={**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[1])},
        on_ready=lambda: None,
        on_hello=lambda blob: None,
        on_failed=lambda reason, detail: sys.exit(f"{reason}\n{detail}"),
    )


def measure(name: str, pool: Pool, jobs: int, *, expected_s: float, in_pool: int = IN_POOL) -> None:
    loop = Loop()
    sent = done = 0

    def submit(count: int) -> None:
        nonlocal sent
        count = min(count, jobs - sent)
        if count > 0:
            pool.submit([Job(sent + i, PAYLOAD, expected_s) for i in range(count)])
            sent += count

    def on_outcomes(outcomes: Sequence[Outcome]) -> None:
        nonlocal done
        done += len(outcomes)
        if pool.held <= in_pool - STEP or in_pool < STEP:
            submit(in_pool - pool.held)

    pool.start(loop, on_outcomes)
    while not pool.ready:
        loop.run_once()
    cpu, began = time.process_time(), time.perf_counter()
    submit(in_pool)
    while done < jobs:
        loop.run_once()
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    print(f"{name:28} {jobs / took_s:10,.0f}/s   parent {cpu_s / jobs * 1e6:6.2f} us/job   {took_s:.2f} s")
    pool.stop(Deadline.after(5))
    while not pool.stopped:
        loop.run_once(1)
    loop.close()


def asyncio_pool(capacity: int) -> Pool:
    from taskd.pools.asyncio import AsyncioPool

    async def no_op_async(_payload: bytes) -> bytes:
        return b""

    return AsyncioPool(capacity, no_op_async, on_ready=lambda: None)


def green_pool(kind: str, capacity: int) -> Pool:
    if kind == "gevent":
        from taskd.pools.gevent import GeventPool

        return GeventPool(capacity, no_op, on_ready=lambda: None)
    from taskd.pools.eventlet import EventletPool

    return EventletPool(capacity, no_op, on_ready=lambda: None)


def measure_green(kind: str, jobs: int) -> None:
    """Measure in a process of its own, which is patched first."""
    root = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-m", "tests.component.patched", kind, "benchmarks.pools", kind, str(jobs)]
    subprocess.run(command, cwd=root, check=False)


def main() -> None:
    if sys.argv[1:2] in (["gevent"], ["eventlet"]):
        kind, jobs = sys.argv[1], int(sys.argv[2])
        measure(f"{kind} 2", green_pool(kind, 2), jobs, expected_s=0.0)
        measure(f"{kind} 100", green_pool(kind, 100), jobs, expected_s=0.0)
        return
    jobs = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    measure("prefork 2, short jobs", prefork(no_op), jobs, expected_s=0.000_005)
    measure("prefork 2, unknown run time", prefork(no_op), jobs // 10, expected_s=0.0)
    measure("prefork 2, one at a time", prefork(no_op), jobs // 20, expected_s=0.0, in_pool=1)
    measure("threads 2", ThreadsPool(2, no_op, on_ready=lambda: None), jobs // 4, expected_s=0.0)
    measure("asyncio 2", asyncio_pool(2), jobs // 4, expected_s=0.0)
    measure("asyncio 100", asyncio_pool(100), jobs // 4, expected_s=0.0)
    measure("solo", SoloPool(no_op, on_ready=lambda: None), jobs // 4, expected_s=0.0)
    for kind in ("gevent", "eventlet"):
        if find_spec(kind) is not None:
            sys.stdout.flush()
            measure_green(kind, jobs // 4)


if __name__ == "__main__":
    main()
