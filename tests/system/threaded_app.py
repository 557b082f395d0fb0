"""Task code that starts a thread while it is imported, as exporters and log listeners do."""

from __future__ import annotations

import os
import threading

from taskd import App

app = App()
threading.Thread(target=threading.Event().wait, name="metrics-pusher", daemon=True).start()


@app.task
def where() -> list[int]:
    """Return the process and how many threads it has."""
    return [os.getpid(), threading.active_count()]
