"""How fast tasks are sent on the embedded broker, beside Huey's SQLite in the same run.

Usage: python benchmarks/delay.py [--count N] [--json]

Each figure is the best of three rounds on a fresh file; both queues write one row a send and survive a
crash of the process.  Huey has no bulk send.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from huey import SqliteHuey

from taskd import App

ROUNDS = 3


def rate(count: int, send: Callable[[int], object]) -> float:
    """Return how many of ``count`` sends are done in a second."""
    started = time.perf_counter()
    send(count)
    return count / (time.perf_counter() - started)


def taskd_rates(directory: Path, count: int) -> tuple[float, float]:
    """Return the sends a second, one at a time and in bulk."""
    app = App(broker=f"sqlite://{directory}/taskd.db")

    @app.task(name="noop", ignore_result=True)
    def noop(number: int) -> None:
        del number

    def one_by_one(count: int) -> None:
        for number in range(count):
            noop.delay(number)

    def in_bulk(count: int) -> None:
        app.send_many(noop.call(number) for number in range(count))

    noop.delay(0)  # opens the file
    rates = rate(count, one_by_one), rate(count * 5, in_bulk)
    app.close()
    return rates


def huey_rate(directory: Path, count: int) -> float:
    """Return Huey's sends a second, one at a time."""
    huey = SqliteHuey(filename=str(directory / "huey.db"), results=False)

    @huey.task()
    def noop(number: int) -> None:
        del number

    def one_by_one(count: int) -> None:
        for number in range(count):
            noop(number)

    noop(0)
    found = rate(count, one_by_one)
    huey.storage.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    single, bulk, huey = 0.0, 0.0, 0.0
    for _ in range(ROUNDS):
        with tempfile.TemporaryDirectory() as name:
            one, many = taskd_rates(Path(name), options.count)
            single, bulk = max(single, one), max(bulk, many)
            huey = max(huey, huey_rate(Path(name), options.count))
    figures = {
        "delay_per_s": round(single),
        "bulk_per_s": round(bulk),
        "huey_per_s": round(huey),
        "delay_ratio": round(single / huey, 2),
        "bulk_ratio": round(bulk / huey, 2),
    }
    if options.json:
        sys.stdout.write(json.dumps(figures) + "\n")
        return
    sys.stdout.write(
        f"delay()      {single:>10,.0f} /s   {single / huey:.1f} x Huey\n"
        f"send_many()  {bulk:>10,.0f} /s   {bulk / huey:.1f} x Huey\n"
        f"Huey         {huey:>10,.0f} /s\n"
    )


if __name__ == "__main__":
    main()
