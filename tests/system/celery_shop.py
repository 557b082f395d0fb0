"""The same tasks as ``shop``, in a Celery application: its worker shares a queue with a taskd worker."""

from __future__ import annotations

import os

from celery import Celery

from tests.system import shop

app = Celery("shop", broker=os.environ["TEST_BROKER"], backend=os.environ["TEST_BROKER"])
app.conf.task_default_queue = "default"
app.conf.task_acks_late = True
app.conf.worker_prefetch_multiplier = 1


@app.task(name="shop.slow_note", ignore_result=True)  # type: ignore[untyped-decorator]
def slow_note(path: str, line: str) -> None:
    shop.slow_note.run(path, f"{line} celery")
