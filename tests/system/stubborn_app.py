"""Tasks that end when asked, or do not."""

from __future__ import annotations

import os
import signal
import threading
import time

from taskd import App, SoftTimeLimitExceeded
from tests.system.shop import append

app = App()


def wait_for(gate: str) -> None:
    """Wait in a function of its own.

    Python 3.13 lets what comes as a ``while`` loop turns past the handlers around it in the same function
    (python/cpython#130279).
    """
    while not os.path.exists(gate):
        time.sleep(0.005)


@app.task(name="stubborn.polite")
def polite(path: str, gate: str) -> str:
    """Wait for the gate; note it when asked to end, and end."""
    append(path, str(os.getpid()))
    try:
        wait_for(gate)
    except SoftTimeLimitExceeded:
        append(path, "asked")
        raise
    return "held"


@app.task(name="stubborn.thorough")
def thorough(path: str, gate: str) -> str:
    """Do as ``polite``, but bring the work to an end when asked."""
    try:
        return str(polite.run(path, gate))
    except SoftTimeLimitExceeded:
        return "finished early"


@app.task(name="stubborn.asleep")
def asleep(path: str, gate: str) -> None:
    """Note the process, and spend the day in one call of the kernel."""
    append(path, str(os.getpid()))
    time.sleep(86_400)


@app.task(name="stubborn.deaf")
def deaf(path: str, gate: str) -> str:
    """Wait for the gate whatever comes; note what came."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, lambda number, frame: append(path, "signalled"))
    append(path, str(os.getpid()))
    while True:
        try:
            wait_for(gate)
            return "held"
        except SoftTimeLimitExceeded:
            append(path, "asked")
        except BaseException:  # noqa: BLE001 - what a pool without signals raises
            append(path, "signalled")
