"""Tasks for the tests of barriers: what they do is to end."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter

from taskd import App
from taskd.app.hooks import Ended
from taskd.sending.request import Request

APP = "tests.component.barrier_app:app"

app = App(broker="memory://unused", results="null://")

#: How often the tasks behind the gate have begun, by what they were given, and what lets them end.
begun: Counter[str] = Counter()
gate = threading.Event()

#: What hooks are told, a line each, goes here.
TOLD = "TASKD_TEST_TOLD"


@app.hooks.on_failure
def tell(request: Request, ended: Ended) -> None:
    """Write down how a task ended."""
    if path := os.environ.get(TOLD):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{request.id} {request.args} {ended.state} {type(ended.error).__name__}\n")


@app.task(name="fail")
def fail(what: str) -> None:
    """Raise."""
    raise ValueError(what)


@app.task(name="gated")
def gated(what: str) -> str:
    """Wait for the gate."""
    begun[what] += 1
    gate.wait(60.0)
    return what


@app.task(name="gated_early", acks="early")
def gated_early(what: str) -> str:
    """Wait for the gate, acknowledged before."""
    return str(gated.run(what))


@app.task(name="note")
def note(what: str) -> str:
    """Return what was given."""
    return what


@app.task(name="slow")
def slow(what: str, seconds: float) -> str:
    """Take a while."""
    time.sleep(seconds)
    return what


@app.task(name="limited")
def limited(what: str) -> str:
    """Return what was given, five times a second."""
    return what


@app.task(name="late", time_limit=0.2)
def late(what: str = "") -> None:
    """Run for longer than it may."""
    time.sleep(60.0)


@app.task(name="die")
def die(what: str = "") -> None:
    """Take the process along."""
    os._exit(7)
