"""Tasks for the tests of barriers: what they do is to end."""

from __future__ import annotations

import time

from taskd import App

app = App(broker="memory://unused", results="null://")


@app.task(name="note")
def note(what: str) -> str:
    """Return what was given."""
    return what


@app.task(name="slow")
def slow(what: str, seconds: float) -> str:
    """Take a while."""
    time.sleep(seconds)
    return what
