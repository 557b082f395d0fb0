"""The task code of the system tests."""

from __future__ import annotations

import ctypes
import logging
import os
import signal
import time
from pathlib import Path

from taskd import App, BoundTask, Reject, SoftTimeLimitExceeded

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


@app.task(name="shop.squared")
def squared(number: int) -> int:
    if number < 0:
        raise OutOfStock("squares", number)
    return number * number


@app.task(name="shop.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="shop.tells", bind=True)
def tells(self: BoundTask, count: int) -> None:
    for done in range(count):
        self.send_event("task-progress", done=done, of="many")


@app.task(name="shop.mailed", bind=True, queue="mail")
def mailed(self: BoundTask) -> str:
    return str(self.request.delivery_info["routing_key"])


@app.task(name="shop.pid")
def pid() -> int:
    return os.getpid()


@app.task(name="shop.log_level")
def log_level() -> str:
    return logging.getLevelName(logging.getLogger().level)


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
    print("about to fall")
    logging.getLogger(__name__).warning("now")
    ctypes.string_at(0)


@app.task(name="shop.kill_worker")
def kill_worker(path: str) -> None:
    """Kill the worker, which on prefork is the parent of the template."""
    append(path, str(os.getpid()))
    with open(f"/proc/{os.getppid()}/stat", encoding="utf-8") as stat:
        parent = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(parent, signal.SIGKILL)
    time.sleep(60.0)


@app.task(name="shop.kill_group")
def kill_group(path: str) -> None:
    """Kill everything in the process group."""
    append(path, str(os.getpid()))
    os.killpg(os.getpgrp(), signal.SIGKILL)


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


@app.task(name="shop.killed_early", acks="early")
def killed_early(path: str) -> None:
    """Kill the own process; acknowledged early, it must not run twice."""
    append(path, str(os.getpid()))
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="shop.early_flaky", bind=True, acks="early", max_retries=3)
def early_flaky(self: BoundTask, path: str) -> int:
    """Ask for one retry, acknowledged early or not."""
    append(path, str(self.request.retries))
    if self.request.retries < 1:
        self.retry(countdown=0)
    return self.request.retries


@app.task(name="shop.refuse")
def refuse(path: str) -> str:
    """Send the message back once, then refuse it for good."""
    append(path, "run")
    if len(Path(path).read_text().split()) == 1:
        raise Reject("not yet", requeue=True)
    raise Reject("not at all")


@app.task(name="shop.patient", soft_time_limit=0.2, time_limit=30)
def patient(path: str) -> str:
    """Wait until the soft limit says enough."""
    try:
        time.sleep(60)
    except SoftTimeLimitExceeded:
        append(path, "tidied")
        return "stopped in time"
    return "never"


@app.task(name="shop.stubborn", time_limit=0.3)
def stubborn() -> None:
    """Outlast any limit."""
    while True:
        time.sleep(60)


@app.task(name="shop.stop_here")
def stop_here(number: int) -> int:
    """Stop at a breakpoint, at which the number may be changed."""
    breakpoint()
    return number
