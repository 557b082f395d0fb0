"""The task code of ``prefetch_mixed``: each run writes down its process and its two ends in time."""

from __future__ import annotations

import os
import time

from taskd import App

app = App()


def _run(path: str, kind: str, number: int, duration_s: float) -> None:
    began = time.monotonic()
    time.sleep(duration_s)
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(fd, f"{kind} {number} {os.getpid()} {began} {time.monotonic()}\n".encode())
    finally:
        os.close(fd)


@app.task(name="mixed.short", ignore_result=True)
def short(path: str, number: int) -> None:
    """Take a millisecond."""
    _run(path, "short", number, 0.001)


@app.task(name="mixed.long", ignore_result=True)
def long(path: str, number: int, duration_s: float) -> None:
    """Take as long as told."""
    _run(path, "long", number, duration_s)
