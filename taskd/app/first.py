"""The tasks of the example configuration, ``app = "taskd.app.first:app"``: they show that a new daemon works.

Your own app takes their place; see docs/tasks.md.
"""

from __future__ import annotations

import os

from taskd.app.app import App

app = App()


@app.task(name="taskd.ping")
def ping() -> str:
    """Answer: the sender, the broker, a worker and the results work."""
    return "pong"


@app.task(name="taskd.echo")
def echo(*args: object, **kwargs: object) -> dict[str, object]:
    """Return what the message brought, and the host that it came to."""
    return {"args": list(args), "kwargs": kwargs, "host": os.uname().nodename}
