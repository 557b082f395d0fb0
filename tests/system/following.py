"""Task code of the system tests about callbacks, states and the log."""

from __future__ import annotations

import logging
import os
import signal
import time
from pathlib import Path

from taskd import App, BoundTask, Reject
from tests.system.shop import append

app = App()
logger = logging.getLogger("following.sales")


@app.task(name="following.add")
def add(a: int, b: int) -> int:
    return a + b


@app.task(name="following.add_early", acks="early")
def add_early(a: int, b: int) -> int:
    return a + b


@app.task(name="following.fail")
def fail() -> None:
    raise ValueError("sold out")


@app.task(name="following.die", acks="early")
def die() -> None:
    """Kill the own process."""
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(name="following.note")
def note(outcome: object, path: str) -> None:
    """Write down what came before."""
    append(path, str(outcome))


@app.task(name="following.why")
def why(task_id: str, path: str) -> None:
    """Write down why another task failed."""
    append(path, repr(app.result(task_id).info))


@app.task(name="following.copy", bind=True, track_started=True)
def copy(self: BoundTask, gate: str) -> str:
    """Wait for the first gate, show the progress, wait for the second."""
    wait_for(gate + ".1")
    self.update_state(meta={"done": 1, "of": 2})
    wait_for(gate + ".2")
    return "copied"


@app.task(name="following.say_and_wait")
def say_and_wait(gate: str) -> None:
    """Print what is done, and wait."""
    print("half of it is done")
    wait_for(gate)


def wait_for(path: str) -> None:
    """Wait until the fifo is opened for writing."""
    Path(path).read_bytes()


@app.task(name="following.sell")
def sell(count: int) -> None:
    logger.info("sold %d", count)
    print("printed as it is", flush=True)


@app.task(name="following.sell_later")
async def sell_later(count: int) -> None:
    logger.info("sold %d", count)


@app.task(name="following.wait")
def wait(path: str) -> None:
    """Say that it runs, then do so until it is ended."""
    append(path, "begun")
    while True:
        time.sleep(0.01)


@app.task(name="following.reject")
def reject() -> None:
    raise Reject("not this one")
