"""Task code that keeps what it allocates."""

from __future__ import annotations

import os

from taskd import App

app = App()
_kept: list[bytes] = []


@app.task(name="leaky.keep")
def keep(size: int) -> int:
    """Keep so many bytes; return the pid."""
    _kept.append(b"x" * size)
    return os.getpid()
