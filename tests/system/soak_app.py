"""The task code of the soaks: each leaves its number in a file, by whatever way it gets there."""

from __future__ import annotations

import os
import signal
import time

from taskd import App, BoundTask
from tests.system.shop import append

app = App()


class Hiccup(Exception):
    """An error that passes."""


@app.task(name="soak.fast", ignore_result=True)
def fast(path: str, number: int) -> None:
    append(path, str(number))


@app.task(name="soak.slow", ignore_result=True)
def slow(path: str, number: int) -> None:
    time.sleep(0.02)
    append(path, str(number))


@app.task(name="soak.failing")
def failing(path: str, number: int) -> None:
    append(path, str(number))
    raise Hiccup(number)


@app.task(name="soak.retrying", bind=True, max_retries=3, retry_for=(Hiccup,), retry_delay=0.05)
def retrying(self: BoundTask, path: str, number: int) -> None:
    if self.request.retries < 2:
        raise Hiccup(number)
    append(path, str(number))


@app.task(name="soak.killed", ignore_result=True)
def killed(path: str, number: int) -> None:
    """Kill the own process in the first run."""
    mark = f"{path}-{number}"
    if not os.path.exists(mark):
        append(mark, "killed")
        os.kill(os.getpid(), signal.SIGKILL)
    append(path, str(number))
