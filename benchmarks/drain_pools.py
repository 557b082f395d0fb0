"""Drain a full queue of no-op tasks through the real daemon, once for each pool.

Two slots where a pool has slots; the SQLite broker; normal durability, no results kept.
"""

from __future__ import annotations

import os
import time

from benchmarks.harness import daemon, median, report, wait_for

TASKS = int(os.environ.get("BENCH_TASKS", "60000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
AIM = 20_000
#: One line for each pool that joins, with its concurrency.
POOLS = {"prefork": 2, "threads": 2, "asyncio": 2, "gevent": 2, "eventlet": 2, "solo": 1}


def drain(pool: str, concurrency: int) -> float:
    """Return tasks a second from the first claim to the last acknowledgement."""
    with daemon(pool, concurrency, start=False) as taskd:
        app = taskd.app()
        # Plain functions go through a thread on asyncio, which is not what that pool is for.
        task = "bench.noop_async" if pool == "asyncio" else "bench.noop"
        app.send_many([app.call(task) for _ in range(TASKS)])
        desk = taskd.broker().desk()
        taskd.start()
        wait_for(lambda: desk.queues()[0].ready < TASKS, pause_s=0.001)
        start = time.monotonic()
        wait_for(lambda: sum((q.ready + q.claimed) for q in desk.queues()) == 0, 120, pause_s=0.01)
        return TASKS / (time.monotonic() - start)


def main() -> None:
    """Print the rates."""
    rates: dict[str, list[float]] = {pool: [] for pool in POOLS}
    for _ in range(ROUNDS):
        for pool, concurrency in POOLS.items():
            rates[pool].append(drain(pool, concurrency))
    for pool, measured in rates.items():
        rate = median(measured)
        report(f"drain, {pool} {POOLS[pool]}", f"{rate:,.0f}/s", rate >= AIM)


if __name__ == "__main__":
    main()
