"""The task code of the benchmarks: a no-op, a clock reading, and an effect that can be counted."""

from __future__ import annotations

import os
import time

from taskd import App

app = App()


@app.task(name="bench.noop", ignore_result=True)
def noop() -> None:
    """Do nothing, and keep no result."""


@app.task(name="bench.noop_kept")
def noop_kept() -> None:
    """Do nothing, and keep the result."""


@app.task(name="bench.started_at")
def started_at() -> float:
    """Return the machine's monotonic time at the start of the task."""
    return time.monotonic()


@app.task(name="bench.mark", ignore_result=True)
def mark(path: str) -> None:
    """Write the monotonic time into a file, for measuring a start from outside."""
    with open(path + ".part", "w", encoding="ascii") as file:
        file.write(repr(time.monotonic()))
    os.rename(path + ".part", path)


@app.task(name="bench.append", ignore_result=True)
def append(path: str, line: str) -> None:
    """Append one short line to a file; O_APPEND writes of this size do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, f"{line} {os.getpid()} {time.monotonic()}\n".encode())
    finally:
        os.close(fd)


@app.task(name="bench.hold_once", ignore_result=True)
def hold_once(path: str, line: str) -> None:
    """Say that it runs; the first run then keeps its slot until it is killed, the next one returns."""
    append(path, line)
    with open(path, encoding="ascii") as file:
        runs = sum(row.split()[0] == line for row in file)
    if runs == 1:
        time.sleep(60)


@app.task(name="bench.noop_async", ignore_result=True)
async def noop_async() -> None:
    """Do nothing, in a coroutine."""


def busy(seconds: float) -> int:
    """Use the processor for so long, by this thread's own time; return how often it looked at the clock."""
    looked = 0
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        looked += 1
    return looked


@app.task(name="bench.spin")
def spin(seconds: float) -> int:
    """Do as ``busy``, which can be pickled."""
    return busy(seconds)
