"""Task code whose import takes a while."""

from __future__ import annotations

import sys
import time

from taskd import App

app = App()
sys.stderr.write("importing\n")
sys.stderr.flush()
time.sleep(0.7)


@app.task(name="slow_import.add")
def add(a: int, b: int) -> int:
    return a + b
