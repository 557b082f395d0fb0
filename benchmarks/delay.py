"""How fast one process sends on the embedded broker, beside Huey on SQLite with the same durability.

Pairs as in ``drain_sqlite``: safe against a power cut, and safe against the crash of a process.  Huey
writes a pickle and wakes nobody; taskd writes Celery's headers and wakes the idle workers.  Huey has no
bulk send.  Each figure is the median of the rounds, each on a fresh file.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from huey import SqliteHuey

from benchmarks.harness import median, report
from taskd import App

COUNT = int(os.environ.get("BENCH_COUNT", "10000"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))

_FILE = """
broker = "sqlite://broker.db"
[sqlite]
durability = "{durability}"
"""


def rate(count: int, send: Callable[[int], object]) -> float:
    """Return how many of ``count`` sends are done in a second."""
    started = time.perf_counter()
    send(count)
    return count / (time.perf_counter() - started)


def taskd_rates(directory: Path, durability: str) -> tuple[float, float]:
    """Return the sends a second, one at a time and in bulk."""
    file = directory / "taskd.toml"
    file.write_text(_FILE.format(durability=durability))
    app = App(config=str(file))

    @app.task(name="noop", ignore_result=True)
    def noop(number: int) -> None:
        del number

    def one_by_one(count: int) -> None:
        for number in range(count):
            noop.delay(number)

    def in_bulk(count: int) -> None:
        app.send_many(noop.call(number) for number in range(count))

    noop.delay(0)  # opens the file
    rates = rate(COUNT, one_by_one), rate(COUNT * 5, in_bulk)
    app.close()
    return rates


def huey_rate(directory: Path, *, fsync: bool | None) -> float:
    """Return Huey's sends a second; ``fsync`` None is as it comes, False syncs nothing ever."""
    huey = SqliteHuey(filename=str(directory / "huey.db"), results=False, fsync=fsync)

    @huey.task()  # type: ignore[untyped-decorator]
    def noop(number: int) -> None:
        del number

    def one_by_one(count: int) -> None:
        for number in range(count):
            noop(number)

    noop(0)
    found = rate(COUNT, one_by_one)
    huey.storage.close()
    return found


def main() -> None:
    """Measure and print."""
    for durability, name, fsync in (("normal", "with fsync off", False), ("full", "as it comes", None)):
        single, bulk, peer = [], [], []
        for _ in range(ROUNDS):
            with tempfile.TemporaryDirectory() as directory:
                one, many = taskd_rates(Path(directory), durability)
                single.append(one)
                bulk.append(many)
                peer.append(huey_rate(Path(directory), fsync=fsync))
        huey = median(peer)
        aims = (median(single) >= 10_000, median(bulk) >= 50_000) if durability == "normal" else (None, None)
        report(f"delay(), {durability} durability", f"{median(single):,.0f}/s", aims[0])
        report(f"send_many(), {durability} durability", f"{median(bulk):,.0f}/s", aims[1])
        report(f"Huey {name}", f"{huey:,.0f}/s")
        report("  ratios", f"{median(single) / huey:.1f} x, {median(bulk) / huey:.1f} x")


if __name__ == "__main__":
    main()
