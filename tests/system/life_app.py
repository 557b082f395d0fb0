"""Task code with hooks for the life of worker and processes; they note themselves in a file."""

from __future__ import annotations

import os
import time

from taskd import App
from taskd.app.life_hooks import HookPlace
from tests.system.shop import append

app = App()


def noting(name: str, place: HookPlace) -> None:
    if name == os.environ.get("LIFE_HANGS"):
        time.sleep(1000)
    append(os.environ["LIFE_NOTES"], f"{name} {place.node_name.partition('@')[0]} {place.pid == os.getpid()}")


for stage in ("process_init", "worker_ready", "worker_stopping", "worker_stopped", "process_shutdown"):
    for number in (1, 2):

        def hook(place: HookPlace, name: str = f"{stage}{number}") -> None:
            noting(name, place)

        getattr(app.hooks, stage)(hook)

    def bad(place: HookPlace) -> None:
        raise SystemExit(place.pid)

    getattr(app.hooks, stage)(bad)


@app.task(name="life.add")
def add(a: int, b: int) -> int:
    append(os.environ["LIFE_NOTES"], "task")
    return a + b
