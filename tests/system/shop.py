"""The task code of the system tests."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from pathlib import Path

from taskd import App
from taskd.app.task import BoundTask

app = App()


class OutOfStock(Exception):
    """An error of the tests' own domain."""

    def __init__(self, item: str, wanted: int) -> None:
        super().__init__(item, wanted)
        self.item = item
        self.wanted = wanted


def append(path: str, line: str) -> None:
    """Append one line; writes of this size with O_APPEND do not mix."""
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, f"{line}\n".encode())
    finally:
        os.close(fd)


@app.task(name="shop.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="shop.pid")
def pid() -> int:
    return os.getpid()


@app.task(name="shop.fail")
def fail(item: str, wanted: int) -> None:
    raise OutOfStock(item, wanted)


@app.task(name="shop.note", ignore_result=True)
def note(path: str, line: str) -> None:
    append(path, line)


@app.task(name="shop.slow_note", ignore_result=True)
def slow_note(path: str, line: str) -> None:
    """Note the line after a few milliseconds of work."""
    time.sleep(0.005)
    append(path, line)


@app.task(name="shop.hold")
def hold(path: str, gate: str) -> str:
    """Note the pid in ``path``, then wait until the file ``gate`` exists."""
    append(path, str(os.getpid()))
    while not os.path.exists(gate):
        time.sleep(0.005)
    return "held"


@app.task(name="shop.killed_at_first")
def killed_at_first(path: str) -> int:
    """Kill the own process in the first run; return the number of runs afterwards."""
    append(path, str(os.getpid()))
    runs = len(Path(path).read_text().splitlines())
    if runs == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return runs


@app.task(name="shop.segfault")
def segfault(path: str) -> None:
    append(path, str(os.getpid()))
    ctypes.string_at(0)


@app.task(name="shop.flaky", bind=True, max_retries=3, retry_for=(OutOfStock,), retry_delay=0.05)
def flaky(self: BoundTask, path: str) -> int:
    """Fail twice, then return which retry it is."""
    append(path, str(self.request.retries))
    if self.request.retries < 2:
        raise OutOfStock("tea", 1)
    return self.request.retries


@app.task(name="shop.later")
async def later(value: str) -> str:
    return value.upper()
