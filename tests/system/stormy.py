"""A Celery application whose tasks are acknowledged late and may run again at any time."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("stormy", broker=os.environ["TEST_BROKER"], backend=os.environ["TEST_RESULTS"])
app.conf.update(task_acks_late=True, task_reject_on_worker_lost=True)


@app.task(name="stormy.note")  # type: ignore[untyped-decorator]
def note(number: int) -> int:
    """Write the number down, in one write."""
    time.sleep(0.005)
    line = os.open(os.environ["TEST_NOTES"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(line, f"{number}\n".encode())
    finally:
        os.close(line)
    return number


@app.task(name="stormy.same")  # type: ignore[untyped-decorator]
def same(number: int) -> int:
    """Return the number."""
    return number


@app.task(name="stormy.total")  # type: ignore[untyped-decorator]
def total(numbers: list[int]) -> int:
    """Return the sum."""
    return sum(numbers)
